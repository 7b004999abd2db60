//! Commands that are shown as they run, and the way back.

use std::{
    env,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::page::Page;
use crate::error::{Context as _, Error, Result};

/// Runs commands written as a user would type them, with variables for the names of namespaces.
pub(super) struct Shell {
    page: Page,
    overlay: PathBuf,
    /// Variables with their `$`, and what they stand for.
    variables: Vec<(&'static str, String)>,
    /// What takes back what was made, in the order it was made.
    undo: Vec<&'static str>,
    stop: Arc<AtomicBool>,
}

impl Shell {
    pub(super) fn new(
        page: Page,
        variables: Vec<(&'static str, String)>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let overlay = env::current_exe().context(|| "no path of this program")?;
        Ok(Self { page, overlay, variables, undo: Vec::new(), stop })
    }

    /// Shows what has to be typed before the commands, to type them.
    pub(super) fn introduce(&self) {
        if !is_on_path("overlay") {
            let here = env::current_dir().ok();
            let overlay = here.and_then(|here| self.overlay.strip_prefix(here).ok()).unwrap_or(&self.overlay);
            self.page.commands(&[&format!("alias overlay={}", overlay.display())]);
        }
        for pair in self.variables.chunks(2) {
            let pair: Vec<String> = pair
                .iter()
                .map(|(name, value)| format!("{}={value}", name.trim_start_matches('$')))
                .collect();
            self.page.commands(&[&pair.join(" ")]);
        }
    }

    pub(super) const fn page(&self) -> &Page {
        &self.page
    }

    pub(super) fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// Fails once the demo shall end.
    pub(super) fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Failed("interrupted".to_owned()));
        }
        Ok(())
    }

    /// Runs commands and shows what they print.
    pub(super) fn show(&self, commands: &[&str]) -> Result<()> {
        self.page.commands(commands);
        for command in commands {
            self.check()?;
            self.succeed(command)?;
        }
        Ok(())
    }

    /// Runs commands that make something, each with the one that takes it back.
    pub(super) fn make(&mut self, steps: &[(&'static str, &'static str)]) -> Result<()> {
        let commands: Vec<&str> = steps.iter().map(|(command, _)| *command).collect();
        self.page.commands(&commands);
        for (command, undo) in steps {
            self.check()?;
            self.succeed(command)?;
            self.undo.push(undo);
        }
        Ok(())
    }

    /// Shows and runs a command that may fail.
    pub(super) fn attempt(&self, command: &str) -> Result<Output> {
        self.page.commands(&[command]);
        self.check()?;
        self.execute(command)
    }

    /// Takes back all that was made, last thing first; goes on where that fails, and returns the first failure.
    pub(super) fn clean(&mut self) -> Result<()> {
        let commands: Vec<&str> = self.undo.drain(..).rev().collect();
        if commands.is_empty() {
            return Ok(());
        }
        self.page.heading("Clean up");
        self.page.commands(&commands);
        let failures = commands.iter().filter_map(|command| self.succeed(command).err());
        // All have to run, so the first failure must not end the iteration.
        failures.collect::<Vec<_>>().into_iter().next().map_or(Ok(()), Err)
    }

    fn succeed(&self, command: &str) -> Result<()> {
        let output = self.execute(command)?;
        if !output.status.success() {
            return Err(self.failure(command, &output));
        }
        self.page.printed(&String::from_utf8_lossy(&output.stdout));
        self.page.printed(&String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Runs a command in a process group of its own, so that Ctrl-C on a terminal does not reach it.
    fn execute(&self, command: &str) -> Result<Output> {
        let command = self.expand(command);
        let mut words = command.split_whitespace();
        let program = words.next().unwrap_or_default();
        let mut child = match program {
            "overlay" => Command::new(&self.overlay),
            program => Command::new(program),
        };
        child.args(words).process_group(0).stdin(Stdio::null());
        let mut run =
            || child.output().context(|| format!("cannot run `{command}`; is {program} installed?"));
        let output = run()?;
        // Ctrl-C can reach it before it is in that group; it has done nothing then.
        if matches!(output.status.signal(), Some(libc::SIGHUP | libc::SIGINT | libc::SIGTERM)) {
            return run();
        }
        Ok(output)
    }

    fn failure(&self, command: &str, output: &Output) -> Error {
        let said = String::from_utf8_lossy(&output.stderr);
        let mut said = said.lines().map(|line| line.strip_prefix("overlay: ").unwrap_or(line));
        let cause = said.next_back().map_or_else(|| output.status.to_string(), str::to_owned);
        Error::failed(format!("`{}` failed", self.expand(command)), cause)
    }

    fn expand(&self, command: &str) -> String {
        let expand = |text: String, (variable, value): &(&str, String)| text.replace(variable, value);
        self.variables.iter().fold(command.to_owned(), expand)
    }
}

/// Whether a program can be run by its bare name.
pub(super) fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

impl Drop for Shell {
    fn drop(&mut self) {
        // After `clean`, nothing is left to do; otherwise something panicked, and nobody listens.
        let _ = self.clean();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Shell {
        let variables = vec![("$A", "a value".to_owned()), ("$B", "x".to_owned())];
        Shell::new(Page::blank(), variables, Arc::default()).unwrap()
    }

    #[test]
    fn variables_are_expanded() {
        assert_eq!(shell().expand("ip -n $B netns $A"), "ip -n x netns a value");
    }

    #[test]
    fn what_was_made_is_taken_back_whatever_happens() {
        let mut shell = shell();
        let made = shell.make(&[("true", "false $B"), ("true $A", "true"), ("false", "true")]);
        assert_eq!(made.unwrap_err().to_string(), "`false` failed: exit status: 1");
        assert_eq!(shell.clean().unwrap_err().to_string(), "`false x` failed: exit status: 1");
        assert!(shell.clean().is_ok());
    }

    #[test]
    fn nothing_new_is_run_once_stopped() {
        let shell = shell();
        shell.stop().store(true, Ordering::Relaxed);
        assert!(shell.show(&["true"]).is_err());
    }
}
