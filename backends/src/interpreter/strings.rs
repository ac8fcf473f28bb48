//! Helpers on text: their strings and numbers from the program's memory and back.

use std::borrow::Cow;

use iom_core::helper::{self, ARGUMENTS_MAX, number};
use iom_core::map::Errno;

use super::execute::{Machine, Packet};
use super::helpers::Call;
use super::memory::Fault;

impl Machine<'_> {
    /// Calls a helper of this file.
    pub(super) fn text_helper(
        &mut self,
        call: &Call,
        packet: &mut Packet<'_>,
    ) -> Result<u64, Fault> {
        match call.helper {
            number::TRACE_PRINTK => {
                let numbers = [call.get(3), call.get(4), call.get(5)];
                self.printk(call, &numbers, packet)
            }
            number::TRACE_VPRINTK => match self.numbers(call, 3, packet)? {
                Some(numbers) => self.printk(call, &numbers, packet),
                None => Ok(Errno::EINVAL.to_register()),
            },
            number::SNPRINTF => self.snprintf(call, packet),
            number::STRTOL => {
                let parsed = helper::strtol(&self.text(call, packet)?, call.get(3));
                let parsed = parsed.map(|(value, consumed)| (value as u64, consumed));
                self.parsed(call, parsed, packet)
            }
            number::STRTOUL => {
                let parsed = helper::strtoul(&self.text(call, packet)?, call.get(3));
                self.parsed(call, parsed, packet)
            }
            _ => {
                let other = self.string(call, 3, packet)?;
                Ok(helper::strncmp(&self.text(call, packet)?, &other) as u64)
            }
        }
    }

    /// `bpf_trace_printk` and, with numbers from memory, `bpf_trace_vprintk`.
    fn printk(&self, call: &Call, numbers: &[u64], packet: &mut Packet<'_>) -> Result<u64, Fault> {
        let format = self.text(call, packet)?;
        // Linux reads kernel memory here; the only memory that is safe to read is the program's.
        let mut read = |at, len| {
            let bytes = self.memory.read(packet.frame, at, len as u64).ok()?;
            Some(bytes.into_owned())
        };
        let line = match helper::format_line(&format, numbers, &mut read) {
            Ok(line) => line,
            Err(errno) => return Ok(errno.to_register()),
        };
        let written = line.len() as u64;
        if let Some(recorder) = packet.recorder.as_deref_mut() {
            recorder.printk.push((packet.frame.packet_id, line));
        }
        Ok(written)
    }

    /// The memory of the first two arguments.
    fn text<'a>(&'a self, call: &Call, packet: &'a Packet<'_>) -> Result<Cow<'a, [u8]>, Fault> {
        let len = u64::from(call.get(2) as u32);
        self.memory.read(packet.frame, call.get(1), len)
    }

    /// The string in constant memory that an argument points to, with its zero byte.
    fn string(&self, call: &Call, argument: u8, packet: &Packet<'_>) -> Result<Vec<u8>, Fault> {
        let mut string = Vec::new();
        while string.last() != Some(&0) {
            let at = call.get(argument).wrapping_add(string.len() as u64);
            string.extend_from_slice(&self.memory.read(packet.frame, at, 1)?);
        }
        Ok(string)
    }

    /// The numbers in the memory that an argument points to, its length in the next; `None` if
    /// Linux does not take so many.
    fn numbers(
        &self,
        call: &Call,
        argument: u8,
        packet: &Packet<'_>,
    ) -> Result<Option<Vec<u64>>, Fault> {
        let (at, len) = (call.get(argument), call.get(argument + 1) as u32);
        if len % 8 != 0 || len as usize > 8 * ARGUMENTS_MAX || (len != 0 && at == 0) {
            return Ok(None);
        }
        let mut numbers = Vec::new();
        for offset in (0..u64::from(len)).step_by(8) {
            let bytes = self.memory.read(packet.frame, at + offset, 8)?;
            numbers.extend(bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)));
        }
        Ok(Some(numbers))
    }

    /// Leaves a number that was read from text in the fourth argument's memory: 0 on an error.
    fn parsed(
        &mut self,
        call: &Call,
        parsed: Result<(u64, u64), Errno>,
        packet: &mut Packet<'_>,
    ) -> Result<u64, Fault> {
        let (value, result) = match parsed {
            Ok((value, consumed)) => (value, consumed),
            Err(errno) => (0, errno.to_register()),
        };
        self.memory
            .write(packet.frame, call.get(4), &value.to_le_bytes())?;
        Ok(result)
    }

    /// `bpf_snprintf`. What is cut off counts too.
    fn snprintf(&mut self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        let Some(numbers) = self.numbers(call, 4, packet)? else {
            return Ok(Errno::EINVAL.to_register());
        };
        let format = self.string(call, 3, packet)?;
        let mut read = |at, len| {
            let bytes = self.memory.read(packet.frame, at, len as u64).ok()?;
            Some(bytes.into_owned())
        };
        let mut text = match helper::format(&format, &numbers, &mut read) {
            Ok(text) => text,
            Err(errno) => return Ok(errno.to_register()),
        };
        text.push(0);
        let needed = text.len();
        let room = call.get(2) as u32 as usize;
        if room > 0 {
            text.truncate(room);
            if let Some(last) = text.last_mut() {
                *last = 0;
            }
            self.memory.write(packet.frame, call.get(1), &text)?;
        }
        Ok(needed as u64)
    }
}
