//! The machine's initramfs: commands with their libraries and files, and kernel modules.

use std::fs;
use std::path::Path;

use chaoscontrol::image::elf::Program;
use chaoscontrol::image::initramfs::{InitramfsError, Packer};

use super::{Command, list};

/// Packs `init` as `/init`, `commands` with all they need, and `modules`, in this order.
pub fn pack(
    init: &Path,
    commands: &[Command],
    modules: &[(String, Vec<u8>)],
) -> Result<Vec<u8>, InitramfsError> {
    let mut packer = Packer::default();
    packer.program(init, "/init")?;
    for command in commands {
        for path in [&command.executable].into_iter().chain(&command.files) {
            let guest = path.display().to_string();
            match is_program(path) {
                true => packer.program(path, &guest)?,
                false => packer.tree(path, &guest)?,
            }
        }
    }
    for (position, (name, module)) in modules.iter().enumerate() {
        let path = format!("{}/{position:02}-{name}.ko", list::MODULES);
        packer.content(&path, module.clone());
    }
    packer.content(list::COMMANDS, list::encode(commands));
    Ok(packer.finish().bytes.to_vec())
}

/// Whether a dynamic loader starts it; a kernel, for one, is an ELF file too.
fn is_program(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap_or_default();
    Program::parse(path, &bytes).is_ok_and(|program| program.interpreter.is_some())
}
