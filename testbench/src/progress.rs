//! A count of what is done, on standard error and only if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A running count. It vanishes when dropped.
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts counting things of this name.
    pub fn start(what: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        let template = format!("{{spinner}} {{human_pos}} {what}, {{elapsed}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// How many are done.
    pub fn set(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
