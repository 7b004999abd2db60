//! `overlay doctor`.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde::Serialize;

use super::{Session, output::Format};
use crate::{
    doctor::{self, Finding, Options, Severity, Shell},
    error::{Context as _, Error, Result},
};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Mend what can be mended by changing only what is ours, or a setting of a device that can be set back
    #[arg(long)]
    fix: bool,
    /// Do not ask remote VTEPs by echo requests how large a packet gets there
    #[arg(long)]
    no_probe: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    instance: &'a str,
    problems: usize,
    advice: usize,
    /// What --fix did.
    fixed: &'a [String],
    findings: &'a [Finding],
}

impl Doctor {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let shell = Shell { netns: session.netns.clone(), instance: session.instance.clone() };
        let name = session.name()?;
        let options = Options { probes: !self.no_probe };
        let mut findings = doctor::examine(&shell, &name, options).await?;
        let mut fixed = Vec::new();
        if self.fix && findings.iter().any(|finding| finding.fixable) {
            fixed = doctor::mend(&name, &findings).await?;
            findings = doctor::examine(&shell, &name, options).await?;
        }
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let (problems, advice) = (count(Severity::Problem), count(Severity::Advice));
        findings.retain(|finding| session.verbose || finding.severity != Severity::Fine);
        match session.output.format() {
            Format::Json => {
                session.output.print_json(&Report {
                    instance: &name,
                    problems,
                    advice,
                    fixed: &fixed,
                    findings: &findings,
                })?;
            }
            Format::Table => print(&findings, problems, advice)?,
        }
        match problems {
            0 => Ok(()),
            1 => Err(Error::Failed("there is a problem".to_owned())),
            _ => Err(Error::Failed(format!("there are {problems} problems"))),
        }
    }
}

/// Prints findings for people: in colours on a terminal that shall have them.
fn print(findings: &[Finding], problems: usize, advice: usize) -> Result<()> {
    let text: String = findings.iter().map(render).collect();
    let sum = match (problems, advice) {
        (0, 0) => "nothing is wrong".to_owned(),
        _ => format!("problems: {problems}, advice: {advice}"),
    };
    let text = format!("{text}{sum}\n");
    match anstream::stdout().write_all(text.as_bytes()) {
        // Whoever read has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.context(|| "cannot print"),
    }
}

fn render(finding: &Finding) -> String {
    let (word, style) = match finding.severity {
        Severity::Problem => ("problem", AnsiColor::Red.on_default().bold()),
        Severity::Advice => ("advice", AnsiColor::Yellow.on_default().bold()),
        Severity::Fine => ("fine", AnsiColor::Green.on_default()),
    };
    let command = Style::new().bold();
    let mut text = format!("{style}{word}{style:#}: {}\n", finding.what);
    if !finding.why.is_empty() {
        let _ = writeln!(text, "    {}", finding.why);
    }
    for mend in &finding.mend {
        let _ = writeln!(text, "    mend: {command}{mend}{command:#}");
    }
    text
}
