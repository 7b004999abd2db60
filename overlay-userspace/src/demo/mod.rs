//! `overlay demo`.

use crate::error::Result;

/// Shows two hosts talk.
///
/// # Errors
///
/// Fails if a step does.
pub async fn run() -> Result<()> {
    Ok(())
}
