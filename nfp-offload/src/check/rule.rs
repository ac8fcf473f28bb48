//! The rules that a program must keep to be offloaded, one row each: what `tests/rules.rs` has a
//! program for, each.

use super::Stage;

/// Makes the enum, its list and its names from one table.
macro_rules! rules {
    ($($stage:ident { $($rule:ident $name:literal $text:literal)* })*) => {
        /// A rule that a program must keep to be offloaded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[doc = $text] $rule,)*)*
        }

        impl Rule {
            /// All of them, by stage.
            pub const ALL: &[Self] = &[$($(Self::$rule,)*)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $($(Self::$rule => $name,)*)* }
            }

            /// Where the load of a program ends that does not keep it.
            pub const fn stage(self) -> Stage {
                match self { $($(Self::$rule => Stage::$stage,)*)* }
            }
        }
    };
}

rules! {
    FirmwareCapabilities {
        Abi "abi" "The firmware has an ABI that the driver knows."
        ProgramType "program-type" "The program is for XDP or TC."
        LoadFlags "load-flags" "The program is loaded without flags."
        AttachPoint "attach-point" "The program is for a device, not for entries of a map."
    }
    MapCreate {
        GlobalData "global-data" "There is no global data."
        MapType "map-type" "Maps are arrays or hashes."
        MapSupport "map-support" "The firmware has maps."
        MapFlags "map-flags" "Maps have no flags."
        FirmwareMapType "firmware-map-type" "The firmware has maps of this type."
        MapCount "map-count" "The card has room for as many maps."
        MapElements "map-elements" "The card has room for as many entries."
        MapEntrySize "map-entry-size" "Key and value fit an entry."
        MapKeySize "map-key-size" "Keys are short enough."
        MapValueSize "map-value-size" "Values are short enough."
    }
    NfpVerifier {
        Opcode "opcode" "The driver knows the instruction."
        Helper "helper" "The driver knows the helper."
        AdjustHead "adjust-head" "The firmware moves the start of packets."
        AdjustHeadMeta "adjust-head-meta" "The firmware moves it without metadata."
        AdjustTail "adjust-tail" "The firmware moves the end of packets."
        Random "random" "The firmware has random numbers."
        MapHelper "map-helper" "The firmware has the map operation."
        ArgumentType "argument-type" "Keys, values and events are on the stack."
        ArgumentVariable "argument-variable" "They are at a constant place."
        ArgumentUnaligned "argument-unaligned" "Their place is a multiple of 4."
        CounterUpdate "counter-update" "Counters are set to zero only."
        EventHelper "event-helper" "The firmware sends events."
        EventCpu "event-cpu" "Events go to the current CPU."
        EventPointer "event-pointer" "Events are taken from stack, map value or packet."
        EventPointerChanged "event-pointer-changed" "An event is taken from one kind of memory."
        ExitNotConstant "exit-not-constant" "TC programs return constants."
        ExitState "exit-state" "TC programs return what the card can do."
        PointerType "pointer-type" "Accesses are to context, stack, map value or packet."
        PointerChanged "pointer-changed" "An access is to one kind of memory."
        StackVariable "stack-variable" "Places on the stack are constant."
        StackMoved "stack-moved" "Places that differ by path have the same alignment."
        MapWrite "map-write" "Map values are not written."
        MapOffsetVariable "map-offset-variable" "Places in map values are constant."
        MapOutOfBounds "map-out-of-bounds" "Places in map values are inside."
        MapUseConflict "map-use-conflict" "Words of map values are read or added to."
        CounterNotZero "counter-not-zero" "Words that are added to were not set."
        ContextStore "context-store" "Of the context only the queue is written."
        QueueSelect "queue-select" "The firmware lets programs choose the queue."
        AtomicOperation "atomic-operation" "Atomic operations are additions."
        AtomicPointer "atomic-pointer" "Atomic additions are to map values."
        AtomicAddend "atomic-addend" "What is added is a number."
        Multiplier "multiplier" "The first factor has 32 bits."
        Multiplicand "multiplicand" "The second factor has 32 bits."
        MultiplicandSign "multiplicand-sign" "A constant factor is not negative."
        Dividend "dividend" "The dividend has 32 bits."
        DivisorNotConstant "divisor-not-constant" "The divisor is constant."
        DivisorRange "divisor-range" "The divisor has 32 bits."
        DivisorSign "divisor-sign" "The divisor is not negative."
        StackSize "stack-size" "The stack fits that of the firmware."
    }
    KernelVerifier {
        Kfunc "kfunc" "No kernel functions are called."
        Verifier "verifier" "The kernel's verifier accepts the program."
    }
    Translate {
        ContextField "context-field" "Of the context only the packet's place is read."
        StoreConstant "store-constant" "What is stored is in a register."
        ShiftAmount "shift-amount" "Constant amounts in registers are less than the width."
        Translation "translation" "Every instruction has words."
        RemovedTarget "removed-target" "No jump lands inside of a copy made in one piece."
        ProgramLength "program-length" "The words fit the firmware's limit."
    }
    Load {
        SplitBoundary "split-boundary" "The program looks at the part of a packet in reach only."
        PortStack "port-stack" "The stack fits that of the port's firmware."
        PortLength "port-length" "The words fit the limit of the port's firmware."
        LiveReload "live-reload" "Programs are replaced while packets come only if the firmware can."
        PortBusy "port-busy" "The port runs programs of one kind, XDP or TC."
        TcClassifier "tc-classifier" "The TC filter is a BPF classifier."
        TcChain "tc-chain" "The TC filter is in chain 0."
        TcProtocol "tc-protocol" "The TC filter is for all protocols."
        TcActions "tc-actions" "The TC filter has direct action only."
    }
}

impl Rule {
    /// What to do about it, where that does not depend on the program.
    pub(super) const fn fix(self) -> Option<&'static str> {
        Some(match self {
            Self::ShiftAmount => "mask the amount, with 63 or in 32 bits 31",
            Self::Translation => "write it in another way",
            Self::RemovedTarget => "copy in a loop-free piece of its own that no branch enters",
            Self::ProgramLength => {
                "split the work over map entries, or leave rare cases to the host (XDP_PASS)"
            }
            _ => return None,
        })
    }
}
