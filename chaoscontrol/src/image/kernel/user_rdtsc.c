// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * RDTSC of programs, from the kernel's own clock.
 *
 * glibc's dynamic loader executes RDTSC whatever CPUID says, and KVM never
 * intercepts it, so that host time would come in. With CR4.TSD set it raises
 * #GP in user mode instead, and is answered here at 3 ticks per ns.
 */
#include <linux/compiler.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/thread_info.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <asm/insn-eval.h>

/* 0F 31, as a little-endian word. */
#define RDTSC 0x310f
#define RDTSC_BYTES 2
#define TICKS_PER_NS 3

/* The host looks for this text before it trusts a kernel on hardware. */
const char chaos_user_rdtsc[] __used = "chaoscontrol: RDTSC of programs is trapped";

bool fixup_user_rdtsc(struct pt_regs *regs);

bool fixup_user_rdtsc(struct pt_regs *regs)
{
	unsigned long ip;
	u64 ticks;
	u16 opcode;

	/* prctl(PR_SET_TSC, PR_TSC_SIGSEGV) and strict seccomp ask for the signal. */
	if (test_thread_flag(TIF_NOTSC))
		return false;
	if (insn_get_effective_ip(regs, &ip))
		return false;
	if (get_user(opcode, (const u16 __user *)ip) || opcode != RDTSC)
		return false;

	ticks = ktime_get_raw_ns() * TICKS_PER_NS;
	regs->ax = (u32)ticks;
	regs->dx = ticks >> 32;
	regs->ip += RDTSC_BYTES;
	return true;
}
