//! Where an agent's instance comes from, and reading that again.

use std::{net::SocketAddr, path::PathBuf};

use super::Tally;
use crate::{
    declared::{self, Declared, How, confirm},
    error::{Error, Result},
    metrics::{self, Serving},
};

/// Where an agent's instance and its own settings come from.
#[derive(Debug)]
pub struct Source {
    /// The configuration file; none: options of the command line, which are what they are.
    pub file: Option<PathBuf>,
    /// Where the command line wants metrics, whatever the file says.
    pub metrics: Option<SocketAddr>,
    /// Where they are served.
    pub serving: Option<Serving>,
}

impl Source {
    /// Applies the file again; what was done, in words.
    ///
    /// # Errors
    ///
    /// With everything as it was, if it cannot be.
    pub(super) async fn reload(&mut self, name: &str, tally: &Tally) -> Result<String> {
        let Some(file) = &self.file else {
            return Err(Error::Failed("there is no file to apply again; start it with -c FILE".to_owned()));
        };
        let declared = Declared::open(file)?;
        let address = self.metrics.or(declared.agent().metrics);
        let is_same = address == self.serving.as_ref().map(Serving::asked);
        // First what may be refused.
        let bound = address.filter(|_| !is_same).map(metrics::bind).transpose()?;
        confirm::settle(name).await?;
        let how = How { outlives_hangup: true, ..How::default() };
        let diff = declared::apply(name, &declared, how).await?;
        if !is_same {
            self.serving = bound.map(|bound| bound.serve(name, tally)).transpose()?;
        }
        Ok(format!("reloaded {}: {} changes", file.display(), declared::lines(&diff).len()))
    }
}
