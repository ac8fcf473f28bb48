//! A program for each rule: what the driver says of it, what we say, and what to do about it.

use std::collections::BTreeSet;
use std::fmt::Write;

use expect_test::expect_file;
use iom_core::isa::{CallTarget, Imm64, Insn, assemble};
use iom_core::map::MapType;
use iom_core::module::{Module, ProgramType, XdpAttach};
use iom_nfp_offload::backend::table_ids;
use iom_nfp_offload::check::{Attachment, Reason, Rule, TcFilter};
use iom_nfp_offload::offload::{Request, offload};
use iom_nfp_offload::profile::FirmwareProfile;
use iom_nfp_offload::translate::DefectMode;

/// `r9` is the packet, of which 60 bytes may be accessed.
const PACKET: &str = "
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r9 = r2
    r2 += 60
    if r2 > r3 goto out";
const HASH: &str = ".map m hash key 4 value 16 max 8";
/// `r0` is a value of the map.
const LOOKUP: &str = "
    r6 = r1
    r8 = 0
    *(u32 *)(r10 - 4) = r8
    r2 = r10
    r2 += -4
    r1 = map[m] ll
    call 1
    if r0 == 0 goto out";
const OUT: &str = "
    out:
    r0 = 2
    exit";

/// The rule, a program that does not keep it, settings of the firmware.
type Case<'a> = (Rule, String, &'a [&'a str]);

fn in_packet(body: &str) -> String {
    format!("{PACKET}\n{body}\n{OUT}")
}

fn with_value(body: &str) -> String {
    format!("{HASH}\n{LOOKUP}\n{body}\n{OUT}")
}

fn with_map(map: &str) -> String {
    format!("{map}\n{LOOKUP}\n{OUT}")
}

fn with_key(body: &str) -> String {
    format!("{HASH}\nr1 = map[m] ll\n{body}\ncall 1\n{OUT}")
}

fn tc(body: &str) -> String {
    format!(".program main sched_cls\n{body}\nexit")
}

fn event(flags: &str, data: &str) -> String {
    format!(
        ".license GPL
         .map events perf_event_array key 4 value 4 max 4
         r8 = 1
         *(u64 *)(r10 - 8) = r8
         r6 = r1
         {data}
         r2 = map[events] ll
         {flags}
         r5 = 8
         call 25
         {OUT}"
    )
}

/// An event from the stack or from a map value, depending on the path.
fn event_of_two_kinds() -> String {
    format!(
        ".map events perf_event_array key 4 value 4 max 4
         {HASH}
         r7 = *(u32 *)(r1 + 0)
         r8 = *(u32 *)(r1 + 4)
         {LOOKUP}
         r4 = r0
         if r7 == r8 goto there
         r4 = r10
         r4 += -4
         there:
         r1 = r6
         r2 = map[events] ll
         {CURRENT_CPU}
         r5 = 4
         call 25
         {OUT}"
    )
}

const CURRENT_CPU: &str = "r3 = 0xffffffff ll";

#[expect(clippy::too_many_lines, reason = "one program for each rule")]
fn hook_programs() -> Vec<Case<'static>> {
    vec![
        (
            Rule::Opcode,
            in_packet("r5 = *(u32 *)(r9 + 0)\nr5 %= 7"),
            &[],
        ),
        (Rule::Helper, format!("call 5{OUT}"), &[]),
        (
            Rule::AdjustHead,
            format!("r2 = 4\ncall 44{OUT}"),
            &["--adjust-head", "off"],
        ),
        (
            Rule::AdjustHeadMeta,
            format!("r2 = 4\ncall 44{OUT}"),
            &["--adjust-head", "0,44,248,84,112"],
        ),
        (
            Rule::AdjustTail,
            format!("r2 = -4\ncall 65{OUT}"),
            &["--adjust-tail", "0"],
        ),
        (Rule::Random, format!("call 7{OUT}"), &["--random", "0"]),
        (Rule::MapHelper, with_map(HASH), &["--helpers", "0,0,0,0"]),
        (
            Rule::ArgumentType,
            with_value("r2 = r0\nr1 = map[m] ll\ncall 1"),
            &[],
        ),
        (
            Rule::ArgumentVariable,
            in_packet(
                "r8 = 0
             *(u64 *)(r10 - 8) = r8
             *(u64 *)(r10 - 16) = r8
             r5 = *(u8 *)(r9 + 0)
             r5 &= 4
             r2 = r10
             r2 += -16
             r2 += r5
             r1 = map[m] ll
             call 1",
            )
            .replacen(PACKET, &format!("{HASH}{PACKET}"), 1),
            &[],
        ),
        (
            Rule::ArgumentUnaligned,
            with_key("r8 = 0\n*(u16 *)(r10 - 6) = r8\n*(u16 *)(r10 - 4) = r8\nr2 = r10\nr2 += -6"),
            &[],
        ),
        (
            Rule::CounterUpdate,
            with_value(
                "r5 = 1
             lock *(u32 *)(r0 + 0) += r5
             r8 = 7
             *(u64 *)(r10 - 24) = r8
             *(u64 *)(r10 - 32) = r8
             r2 = r10
             r2 += -4
             r3 = r10
             r3 += -32
             r4 = 0
             r1 = map[m] ll
             call 2",
            ),
            &[],
        ),
        (
            Rule::EventHelper,
            event(CURRENT_CPU, "r4 = r10\nr4 += -8"),
            &["--helpers", "1,2,3,0"],
        ),
        (Rule::EventCpu, event("r3 = 0", "r4 = r10\nr4 += -8"), &[]),
        (Rule::EventPointer, event(CURRENT_CPU, "r4 = r1"), &[]),
        (
            Rule::EventPointerChanged,
            format!(".license GPL\n{}", event_of_two_kinds()),
            &[],
        ),
        (Rule::ExitNotConstant, tc("r0 = *(u32 *)(r1 + 0)"), &[]),
        (Rule::ExitState, tc("r0 = 1"), &[]),
        (
            Rule::PointerType,
            format!("r8 = 5\nr7 = *(u32 *)(r8 + 0){OUT}"),
            &[],
        ),
        (
            Rule::PointerChanged,
            in_packet(
                "r8 = 0
             *(u64 *)(r10 - 8) = r8
             r5 = *(u8 *)(r9 + 0)
             r7 = r10
             r7 += -8
             if r5 == 1 goto there
             r7 = r9
             there:
             r6 = *(u32 *)(r7 + 0)",
            ),
            &[],
        ),
        (
            Rule::StackVariable,
            in_packet(
                "r8 = 0
             *(u64 *)(r10 - 8) = r8
             *(u64 *)(r10 - 16) = r8
             r5 = *(u8 *)(r9 + 0)
             r5 &= 4
             r7 = r10
             r7 += -16
             r7 += r5
             r6 = *(u32 *)(r7 + 0)",
            ),
            &[],
        ),
        (
            Rule::StackMoved,
            in_packet(
                "r8 = 0
             *(u64 *)(r10 - 8) = r8
             *(u64 *)(r10 - 16) = r8
             r5 = *(u8 *)(r9 + 0)
             r7 = r10
             r7 += -8
             if r5 == 1 goto there
             r7 += -2
             there:
             r6 = *(u16 *)(r7 + 0)",
            ),
            &[],
        ),
        (
            Rule::MapWrite,
            with_value("r5 = 1\n*(u32 *)(r0 + 0) = r5"),
            &[],
        ),
        (
            Rule::MapOffsetVariable,
            with_value("r5 = *(u32 *)(r0 + 0)\nr5 &= 4\nr0 += r5\nr5 = *(u32 *)(r0 + 0)"),
            &[],
        ),
        (
            Rule::MapOutOfBounds,
            with_value("r5 = *(u32 *)(r0 + 16)"),
            &[],
        ),
        (
            Rule::MapUseConflict,
            with_value("r5 = 1\nlock *(u32 *)(r0 + 0) += r5\nr5 = *(u32 *)(r0 + 0)"),
            &[],
        ),
        (
            Rule::CounterNotZero,
            with_value(
                "r7 = r0
             r8 = 7
             *(u64 *)(r10 - 24) = r8
             *(u64 *)(r10 - 32) = r8
             r2 = r10
             r2 += -4
             r3 = r10
             r3 += -32
             r4 = 0
             r1 = map[m] ll
             call 2
             r5 = 1
             lock *(u32 *)(r7 + 0) += r5",
            ),
            &[],
        ),
        (
            Rule::ContextStore,
            tc("r5 = 1\n*(u32 *)(r1 + 8) = r5\nr0 = 2"),
            &[],
        ),
        (
            Rule::QueueSelect,
            format!("r5 = 1\n*(u32 *)(r1 + 16) = r5{OUT}"),
            &["--qsel", "0"],
        ),
        (
            Rule::AtomicOperation,
            with_value("r5 = 1\nlock *(u32 *)(r0 + 0) |= r5"),
            &[],
        ),
        (
            Rule::AtomicPointer,
            format!("r8 = 0\n*(u64 *)(r10 - 8) = r8\nlock *(u64 *)(r10 - 8) += r8{OUT}"),
            &[],
        ),
        (
            Rule::AtomicAddend,
            with_value("lock *(u64 *)(r0 + 0) += r10"),
            &[],
        ),
        (
            Rule::Multiplier,
            in_packet("r5 = *(u64 *)(r9 + 0)\nr5 *= 3"),
            &[],
        ),
        (
            Rule::Multiplicand,
            in_packet("r4 = 3\nr5 = *(u64 *)(r9 + 0)\nr4 *= r5"),
            &[],
        ),
        (
            Rule::MultiplicandSign,
            in_packet("r5 = *(u32 *)(r9 + 0)\nr5 *= -3"),
            &[],
        ),
        (
            Rule::Dividend,
            in_packet("r5 = *(u64 *)(r9 + 0)\nr5 /= 3"),
            &[],
        ),
        (
            Rule::DivisorNotConstant,
            in_packet("r4 = 3\nr5 = *(u32 *)(r9 + 0)\nr4 /= r5"),
            &[],
        ),
        (
            Rule::DivisorRange,
            in_packet("r4 = 3\nr5 = 0x100000000 ll\nr4 /= r5"),
            &[],
        ),
        (Rule::DivisorSign, in_packet("r4 = 3\nr4 /= -3"), &[]),
        (
            Rule::StackSize,
            format!("r8 = 0\n*(u64 *)(r10 - 128) = r8{OUT}"),
            &["--stack", "64"],
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "one program for each rule")]
fn other_programs() -> Vec<Case<'static>> {
    vec![
        (Rule::Abi, OUT.to_owned(), &["--abi", "4"]),
        (
            Rule::ProgramType,
            ".program main socket_filter\nr0 = 0\nexit".to_owned(),
            &[],
        ),
        (
            Rule::MapType,
            with_map(".map m percpu_hash key 4 value 16 max 8"),
            &[],
        ),
        (Rule::MapSupport, with_map(HASH), &["--map-caps", "off"]),
        (
            Rule::MapFlags,
            with_map(".map m hash key 4 value 16 max 8 flags no_prealloc"),
            &[],
        ),
        (
            Rule::FirmwareMapType,
            with_map(HASH),
            &["--map-caps", "0x4,128,2048000,64,64,128"],
        ),
        (
            Rule::MapCount,
            with_map(HASH),
            &["--map-caps", "0x6,0,2048000,64,64,128"],
        ),
        (
            Rule::MapElements,
            with_map(HASH),
            &["--map-caps", "0x6,128,7,64,64,128"],
        ),
        (
            Rule::MapEntrySize,
            with_map(HASH),
            &["--map-caps", "0x6,128,2048000,64,64,16"],
        ),
        (
            Rule::MapKeySize,
            with_map(HASH),
            &["--map-caps", "0x6,128,2048000,2,64,128"],
        ),
        (
            Rule::MapValueSize,
            with_map(HASH),
            &["--map-caps", "0x6,128,2048000,64,8,128"],
        ),
        (Rule::Verifier, in_packet("r5 = *(u32 *)(r9 + 60)"), &[]),
        (
            Rule::ContextField,
            format!("r5 = *(u32 *)(r1 + 12){OUT}"),
            &[],
        ),
        (Rule::StoreConstant, in_packet("*(u32 *)(r9 + 0) = 7"), &[]),
        (
            Rule::ShiftAmount,
            in_packet("r4 = 40\nw9 = 1\nw9 <<= w4"),
            &[],
        ),
        (
            Rule::Translation,
            in_packet("r4 = 0\nr5 = *(u32 *)(r9 + 0)\nr5 /= r4"),
            &[],
        ),
        (Rule::ProgramLength, OUT.to_owned(), &["--max-len", "20"]),
        (
            Rule::SplitBoundary,
            in_packet("r5 = *(u32 *)(r9 + 56)"),
            &["--inl-mtu", "1"],
        ),
    ]
}

fn try_offload(module: &Module, settings: &[&str]) -> Vec<Reason> {
    let profile = FirmwareProfile::full().with_settings(settings).unwrap();
    let request = Request {
        module,
        entry: 0,
        profile: &profile,
        map_ids: &table_ids(&module.maps),
        mode: DefectMode::Kept,
    };
    offload(request).err().unwrap_or_default()
}

/// All that is said, and that it names the rule.
fn describe(rule: Rule, settings: &[&str], reasons: &[Reason]) -> String {
    let mut text = format!("{} {}\n", rule.name(), settings.join(" "));
    for reason in reasons {
        let _ = write!(text, "  {} {}", reason.rule.name(), reason.stage.name());
        let _ = match reason.insn {
            Some(insn) => writeln!(text, ", instruction {insn}"),
            None => writeln!(text),
        };
        let driver = reason.driver.replace('\n', "\n            ");
        let _ = writeln!(text, "    driver: {driver}\n    {}", reason.message);
        if let Some(fix) = reason.fix {
            let _ = writeln!(text, "    fix: {fix}");
        }
    }
    assert!(
        reasons.iter().any(|reason| reason.rule == rule),
        "no reason {}:\n{text}",
        rule.name()
    );
    text
}

/// Modules that the assembler does not make.
fn changed_modules() -> Vec<(Rule, Module)> {
    let simple = || assemble(&with_map(HASH), "program").unwrap();
    let change = |edit: &dyn Fn(&mut Module)| {
        let mut module = simple();
        edit(&mut module);
        module
    };
    let program = |edit: &dyn Fn(&mut iom_core::module::Program)| {
        change(&|module| {
            edit(&mut module.programs[0]);
        })
    };
    vec![
        (
            Rule::LoadFlags,
            program(&|program| program.fragments = true),
        ),
        (
            Rule::AttachPoint,
            program(&|program| program.attach = XdpAttach::Devmap),
        ),
        (
            Rule::GlobalData,
            change(&|module| {
                module.maps[0].map_type = MapType::Array;
                module.maps[0].data_section = true;
                for insn in &mut module.programs[0].insns {
                    if let Insn::LoadImm64 { value, .. } = insn {
                        *value = Imm64::MapValue { map: 0, offset: 0 };
                    }
                }
            }),
        ),
        (
            Rule::Kfunc,
            program(&|program| {
                for insn in &mut program.insns {
                    if let Insn::Call { target } = insn {
                        *target = CallTarget::Kfunc {
                            btf_id: 1,
                            module: 0,
                        };
                    }
                }
            }),
        ),
    ]
}

/// What attaching a program of this type says.
fn attach(program_type: ProgramType, edit: impl Fn(&mut Attachment<'_>)) -> Vec<Reason> {
    let mut small = FirmwareProfile::full();
    small.max_len = 20;
    small.stack_bytes = 0;
    small.live_reload = false;
    let mut module = assemble(&format!("r8 = 0\n*(u64 *)(r10 - 8) = r8{OUT}"), "program").unwrap();
    if program_type == ProgramType::SchedCls {
        module = assemble(&tc("r0 = 2"), "program").unwrap();
    }
    let made_for = FirmwareProfile::full();
    let offload = offload(Request {
        module: &module,
        entry: 0,
        profile: &made_for,
        map_ids: &[],
        mode: DefectMode::Kept,
    })
    .unwrap();
    let mut attachment = Attachment::on(&small);
    if program_type == ProgramType::SchedCls {
        attachment.port = &made_for;
    }
    edit(&mut attachment);
    attachment.check(program_type, &offload)
}

fn attachments() -> Vec<(Rule, Vec<Reason>)> {
    let xdp = |running| attach(ProgramType::Xdp, |attachment| attachment.running = running);
    let filter = |edit: fn(&mut TcFilter)| {
        attach(ProgramType::SchedCls, |attachment| {
            edit(&mut attachment.filter);
        })
    };
    vec![
        (Rule::PortStack, xdp(None)),
        (Rule::PortLength, xdp(None)),
        (Rule::LiveReload, xdp(Some(ProgramType::Xdp))),
        (Rule::PortBusy, xdp(Some(ProgramType::SchedCls))),
        (Rule::TcClassifier, filter(|filter| filter.is_bpf = false)),
        (Rule::TcChain, filter(|filter| filter.in_chain_0 = false)),
        (
            Rule::TcProtocol,
            filter(|filter| filter.all_protocols = false),
        ),
        (
            Rule::TcActions,
            filter(|filter| filter.direct_action = false),
        ),
    ]
}

#[test]
fn every_rule_has_a_program() {
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    let programs = other_programs().into_iter().chain(hook_programs());
    for (rule, program, settings) in programs {
        let module = assemble(&program, rule.name())
            .unwrap_or_else(|error| panic!("{}: {error}", rule.name()));
        text += &describe(rule, settings, &try_offload(&module, settings));
        seen.insert(rule);
    }
    for (rule, module) in changed_modules() {
        text += &describe(rule, &[], &try_offload(&module, &[]));
        seen.insert(rule);
    }
    for (rule, reasons) in attachments() {
        text += &describe(rule, &[], &reasons);
        seen.insert(rule);
    }
    let missing: Vec<_> = Rule::ALL
        .iter()
        .filter(|rule| !seen.contains(rule))
        .collect();
    // Only a loop back to `r6 = r1` at the very start could do it, and nothing could end that loop.
    assert_eq!(missing, [&Rule::RemovedTarget]);
    expect_file!["rules.txt"].assert_eq(&text);
}
