//! The campaign: program after program, each from a seed of its own, so that any of them can be
//! tried again alone.

use iom_core::generate::{Candidate, Random, mutate, program};
use iom_core::module::Module;
use iom_core::verifier::Verification;

use super::finding::{Finding, Kind};
use super::run::{Ran, run};
use super::summary::Summary;

/// The verifier under test: what it says of a module's only program.
pub type Judge<'a> = &'a dyn Fn(&Module) -> Verification;

/// The kernel's verdict on a program.
pub type Oracle<'a> = &'a dyn Fn(&Candidate) -> anyhow::Result<Opinion>;

/// What the kernel says of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// Why it is refused, `None` if it is accepted.
    pub refusal: Option<String>,
    /// Instructions that it looked at, and states that it remembered.
    pub effort: Option<(u64, u64)>,
}

/// What to try.
pub struct Campaign<'a> {
    /// Seed of the first program; the next one has the next seed.
    pub seed: u64,
    /// How many programs.
    pub programs: u64,
    /// Programs to mutate; if there are some, every second program is a mutant.
    pub originals: &'a [Candidate],
    /// Packets for each accepted program.
    pub packets: usize,
    /// The verifier.
    pub judge: Judge<'a>,
    /// The kernel, if it is asked.
    pub oracle: Option<Oracle<'a>>,
}

/// The program of a seed.
pub fn candidate(seed: u64, originals: &[Candidate]) -> Candidate {
    let mut random = Random::new(seed ^ 0x6d75_7461_7465);
    if originals.is_empty() || random.chance(50) {
        return program(seed);
    }
    let mut mutant = random.pick(originals).clone();
    mutate(&mut mutant, &mut random);
    mutant
}

impl Campaign<'_> {
    /// Tries all programs; each finding is handed out as it comes.
    ///
    /// # Errors
    /// The kernel cannot be asked, or `found` fails.
    pub fn run(
        &self,
        found: &mut dyn FnMut(&Finding) -> anyhow::Result<()>,
    ) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        for seed in (self.seed..).take(self.programs as usize) {
            let candidate = candidate(seed, self.originals);
            for kind in self.try_one(&candidate, seed, &mut summary)? {
                summary.note(kind.class(), seed);
                found(&Finding {
                    seed,
                    kind,
                    candidate: candidate.clone(),
                })?;
            }
        }
        Ok(summary)
    }

    fn try_one(
        &self,
        candidate: &Candidate,
        seed: u64,
        summary: &mut Summary,
    ) -> anyhow::Result<Vec<Kind>> {
        let mut kinds = Vec::new();
        summary.programs += 1;
        let (refusal, effort) = match candidate.module() {
            Ok(module) => {
                let verification = (self.judge)(&module);
                let refusal = verification
                    .refusal
                    .map(|refusal| refusal.messages.join("; "));
                if refusal.is_none() {
                    summary.accepted += 1;
                    kinds.extend(self.run_accepted(module, seed, summary));
                }
                (
                    refusal,
                    Some((verification.processed, verification.total_states)),
                )
            }
            Err(error) => {
                summary.undecodable += 1;
                (Some(error.to_string()), None)
            }
        };
        if let Some(oracle) = self.oracle {
            let opinion = oracle(candidate)?;
            summary.asked += 1;
            match (refusal, opinion.refusal) {
                (None, None) => {
                    summary.accepted_by_both += 1;
                    summary.same_effort += u64::from(effort == opinion.effort);
                }
                (None, Some(said)) => kinds.push(Kind::OnlyHere(said)),
                (Some(said), None) => kinds.push(Kind::OnlyKernel(said)),
                (Some(_), Some(_)) => {}
            }
            let differs = kinds.iter().any(|kind| !matches!(kind, Kind::Trap(_)));
            summary.differ += u64::from(differs);
        }
        Ok(kinds)
    }

    fn run_accepted(&self, module: Module, seed: u64, summary: &mut Summary) -> Option<Kind> {
        match run(module, self.packets, &mut Random::new(seed)) {
            Ran::Fine(packets) => summary.runs += packets,
            Ran::NotRun => summary.not_run += 1,
            Ran::Trapped(text) => {
                summary.trapped += 1;
                return Some(Kind::Trap(text));
            }
        }
        None
    }
}
