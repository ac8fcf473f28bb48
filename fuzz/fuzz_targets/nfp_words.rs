//! NFP instruction words: decoded, listed, and executed on the micro-engine model.
#![no_main]

use iom_nfp_offload::isa::{Insn, decode, encode, listing};
use iom_nfp_offload::machine::{
    Config, CounterWidth, Firmware, FirmwareFault, Helper, HelperCall, Memory, MicroEngine,
    OutOfBounds, Program,
};
use iom_nfp_offload::profile::FirmwareProfile;
use iom_nfp_offload::ustore::{INSN_MASK, with_ecc};
use libfuzzer_sys::fuzz_target;

/// Zeros everywhere.
struct Zeros;

impl Memory for Zeros {
    fn read(&mut self, _: u64, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        bytes.fill(0);
        Ok(())
    }

    fn write(&mut self, _: u64, _: &[u8]) -> Result<(), OutOfBounds> {
        Ok(())
    }

    fn add(&mut self, _: u64, _: u64, _: CounterWidth) -> Result<(), OutOfBounds> {
        Ok(())
    }
}

impl Firmware for Zeros {
    fn call(&mut self, _: Helper, call: &HelperCall<'_>) -> Result<u64, FirmwareFault> {
        let mut bytes = [0; 64];
        call.key(&mut bytes);
        call.value(&mut bytes);
        call.local_memory(call.argument(4) as u32, &mut bytes);
        Ok(call.argument(1))
    }

    fn random(&mut self) -> u32 {
        7
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (chunks, frame) = bytes.as_chunks::<8>();
    let words: Vec<u64> = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
    listing(&words, 0);
    let profile = FirmwareProfile::full();
    let valid = words.iter().map(|word| {
        let bits = word & INSN_MASK;
        let insn = decode(bits).unwrap_or(Insn::NOP);
        let again = encode(&insn).expect("a decoded instruction has an encoding");
        assert!(again == bits || insn == Insn::NOP);
        match Program::load(&[with_ecc(again)], &profile) {
            Ok(_) => with_ecc(again),
            Err(_) => with_ecc(encode(&Insn::NOP).expect("a NOP has an encoding")),
        }
    });
    let words: Vec<u64> = valid.collect();
    let program = Program::load(&words, &profile).expect("each word was loaded alone");
    let config = Config { budget: 1000, ..Config::default() };
    let mut engine = MicroEngine::new(config);
    let first = engine.run(&program, frame, &mut Zeros);
    assert_eq!(engine.run(&program, frame, &mut Zeros), first);
});
