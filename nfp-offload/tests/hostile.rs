//! Profiles, settings and recorded facts from anywhere: errors, no panic.

use iom_core::abi::Backend;
use iom_core::isa::assemble;
use iom_core::object::vector::load_vector;
use iom_nfp_offload::backend::Nfp;
use iom_nfp_offload::cycles::{Cost, PacketCost, Wait, predict};
use iom_nfp_offload::offload::{Offload, Request, offload, offload_with};
use iom_nfp_offload::profile::{AdjustHead, Card, FirmwareProfile, HelperAddresses, MapLimits};
use iom_nfp_offload::recorded::facts;
use iom_nfp_offload::translate::DefectMode;
use proptest::prelude::*;

/// Every helper, a map, and a division.
const PROGRAM: &str = ".license GPL
    .map m hash key 4 value 8 max 8
    r6 = r1
    r2 = 4
    call 44
    r2 = -2
    r1 = r6
    call 65
    call 7
    r8 = 0
    *(u32 *)(r10 - 4) = r8
    r2 = r10
    r2 += -4
    r1 = map[m] ll
    call 1
    if r0 == 0 goto out
    r7 = *(u32 *)(r0 + 4)
    r7 /= 10
    out:
    r0 = 2
    exit";

fn run(profile: &FirmwareProfile, mode: DefectMode) -> Option<Offload> {
    let module = assemble(PROGRAM, "program").unwrap();
    let request = Request {
        module: &module,
        entry: 0,
        profile,
        map_ids: &[1],
        mode,
    };
    offload(request).ok()
}

prop_compose! {
    fn any_profile()(
        numbers: (u8, u16, u16, u16, u16, u16),
        port_mtu: u32,
        flags: [bool; 4],
        head: Option<[u32; 5]>,
        maps: Option<[u32; 6]>,
        helpers: [u16; 4],
        card: Option<[u32; 4]>,
    ) -> FirmwareProfile {
        let (abi, start_offset, done_offset, max_len, stack_bytes, inline_mtu) = numbers;
        let [adjust_tail, random, queue_select, live_reload] = flags;
        let [map_lookup, map_update, map_delete, perf_event_output] = helpers;
        FirmwareProfile {
            name: "any".into(),
            card: card.map(|[clock_mhz, micro_engines, contexts, wire_gbps]| Card {
                clock_mhz, micro_engines, contexts, wire_gbps,
            }),
            abi: 2 + abi % 2, start_offset, done_offset, max_len, stack_bytes, inline_mtu, port_mtu,
            adjust_head: head.map(|[flags, offset_min, offset_max, guaranteed_sub, guaranteed_add]| AdjustHead {
                flags: flags | 1, offset_min: offset_min % 300, offset_max: offset_max % 300, guaranteed_sub, guaranteed_add,
            }),
            adjust_tail, random, queue_select, live_reload,
            maps: maps.map(|[types, max_maps, max_elements, max_key, max_value, max_entry]| MapLimits {
                types, max_maps, max_elements, max_key, max_value, max_entry,
            }),
            helpers: HelperAddresses { map_lookup, map_update, map_delete, perf_event_output },
        }
    }
}

proptest! {
    #[test]
    fn any_profile_is_taken_or_refuses(profile in any_profile()) {
        let _ = Nfp::new(profile.clone()).capabilities();
        for mode in [DefectMode::Kept, DefectMode::Fixed] {
            let _ = run(&profile, mode);
        }
        let text = toml::to_string(&profile).unwrap();
        prop_assert_eq!(FirmwareProfile::parse(&text), Ok(profile.clone()));
        let mut total = Cost::default();
        total.waits.count(Wait::Lookup);
        if let Some(card) = profile.card {
            let found = predict(&PacketCost::mean(&total, 1, 60), &card);
            prop_assert!(found.mpps.low <= found.mpps.high);
        }
    }

    #[test]
    fn any_text_is_a_profile_or_an_error(text in "\\PC{0,200}", at in 0..1000usize) {
        let _ = FirmwareProfile::parse(&text);
        let mut good = toml::to_string(&FirmwareProfile::full()).unwrap();
        let at = at % good.len();
        good.truncate(at);
        let _ = FirmwareProfile::parse(&(good + &text));
        let _ = FirmwareProfile::full().with_settings(text.split(' '));
    }

    /// Facts that no verifier found: the translator makes words or says why not.
    #[test]
    fn any_recorded_facts_are_taken_or_refused(
        kinds in prop::collection::vec((0u32..12, any::<i32>(), 0u32..3, any::<u64>(), 0u32..128), 6),
    ) {
        // A load from the packet, a shift and a division, an addition, exit.
        let program = "61120000000000007f210000000000003f21000000000000db21000000000000bf16000000000000\
            9500000000000000";
        let facts_json: Vec<String> = kinds.iter().map(|(kind, off, id, range, flags)| format!(
            r#"{{"flags":{flags},"range":["{range}","{range}","1","{range}"],"ptr":{{"type":{kind},"off":{off},"id":{id},"var":[{range},{id}]}},
            "func":25,"arg1_type":{kind},"arg2":{{"type":{kind},"off":{off},"var":[1,1]}},"xadd_over16":{id},"xadd_maybe16":1}}"#
        )).collect();
        let json = format!(
            r#"{{"type":"xdp","program":"{program}","maps":[],"facts":[{}],"subprogs":[{{"stack_depth":{}}}]}}"#,
            facts_json.join(","), kinds[0].3 as u32
        );
        let vector = load_vector(json.as_bytes(), "vector").unwrap();
        let Ok(Some(facts)) = facts(&vector) else { return Ok(()); };
        let request = Request {
            module: &vector.module,
            entry: 0,
            profile: &FirmwareProfile::full(),
            map_ids: &[],
            mode: DefectMode::Kept,
        };
        let _ = offload_with(request, &facts);
        let _ = offload_with(Request { mode: DefectMode::Fixed, ..request }, &facts);
    }
}
