// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * Edge coverage of the kernel, for a host that cannot see its branches.
 *
 * The compiler calls __sanitizer_cov_trace_pc() in every basic block. Each pair
 * of blocks that a task executes one after the other counts in a table of
 * saturating bytes, at a physical address that the host knows.
 */
#include <linux/cache.h>
#include <linux/init.h>
#include <linux/instruction_pointer.h>
#include <linux/kcov.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <asm/cpufeature.h>
#include <asm/page.h>
#include <asm/processor.h>
#include <asm/sections.h>

/* No memory map lists it as RAM, so nobody else uses it. */
#define TABLE_ADDRESS 0xe0000
#define TABLE_BYTES 0x10000

#define HYPERVISOR_LEAF 0x40000000

/* The host looks for this text. */
const char chaos_edges[] __used = "chaoscontrol: edges are counted at e0000";

/* Null until the table is known to be ours and mapped. */
static u8 *table __ro_after_init;

void __sanitizer_cov_trace_pc(void);

void notrace __sanitizer_cov_trace_pc(void)
{
	struct task_struct *task = current;
	u8 *counter;
	u32 place;

	/*
	 * When interrupts and switches come is no property of what runs; the idle
	 * task does nothing but wait for them. kcov_mode also has a bit that stands
	 * while the scheduler switches.
	 */
	if (!table || !in_task() || is_idle_task(task) ||
	    task->kcov_mode != KCOV_MODE_DISABLED)
		return;

	/* Nobody opens kcov here, so the task's kcov_size keeps where it was. */
	place = (u32)(_RET_IP_ - (unsigned long)_text) * 0x9e3779b1u >> 16;
	counter = table + ((place ^ task->kcov_size) % TABLE_BYTES);
	*counter += *counter != 0xff;
	task->kcov_size = place >> 1;
}

static int __init find_table(void)
{
	u32 leaf, name[3];

	if (!boot_cpu_has(X86_FEATURE_HYPERVISOR))
		return 0;
	cpuid(HYPERVISOR_LEAF, &leaf, &name[0], &name[1], &name[2]);
	if (!memcmp(name, "ChaosControl", sizeof(name)))
		table = __va(TABLE_ADDRESS);
	return 0;
}
early_initcall(find_table);
