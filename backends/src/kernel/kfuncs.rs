//! Kernel functions by the BTF ids of the running kernel. All of the catalogue are in vmlinux
//! itself, none in a module.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use iom_core::isa::{CallTarget, Insn};
use iom_core::kfunc::Kfunc;
use iom_core::object::KernelTypes;
use iom_core::object::btf::BtfKind;

/// Where the running kernel shows its types.
const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// BTF ids of the kernel functions that the running kernel has, or why it does not say. Its types
/// are read once, and only for programs that ask.
fn btf_ids() -> &'static Result<BTreeMap<Kfunc, i32>, String> {
    static IDS: OnceLock<Result<BTreeMap<Kfunc, i32>, String>> = OnceLock::new();
    IDS.get_or_init(|| {
        let bytes = std::fs::read(TYPES).map_err(|error| format!("{TYPES}: {error}"))?;
        let types = KernelTypes::parse(&bytes).map_err(|error| format!("{TYPES}: {error}"))?;
        Ok(Kfunc::all()
            .filter_map(|kfunc| Some((kfunc, btf_id(&types, kfunc.name())?)))
            .collect())
    })
}

fn btf_id(types: &KernelTypes, name: &str) -> Option<i32> {
    let btf = types.btf();
    let is_function = |id: &u32| {
        let found = btf.get(*id);
        btf.name_of(*id) == name
            && found.is_some_and(|found| matches!(found.kind, BtfKind::Func { .. }))
    };
    let id = types.named(name).find(is_function)?;
    i32::try_from(id).ok()
}

/// The instruction with a kernel function's BTF id in place of its name.
pub(super) fn with_btf_id(insn: Insn) -> Result<Insn, String> {
    let Insn::Call {
        target: CallTarget::Kernel(kfunc),
    } = insn
    else {
        return Ok(insn);
    };
    let btf_id = btf_ids()
        .as_ref()
        .map_err(Clone::clone)?
        .get(&kfunc)
        .ok_or_else(|| format!("the running kernel has no function {}", kfunc.name()))?;
    let target = CallTarget::Kfunc {
        btf_id: *btf_id,
        module: 0,
    };
    Ok(Insn::Call { target })
}
