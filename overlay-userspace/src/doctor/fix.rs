//! What `--fix` does.

use std::fs;

use super::finding::{Finding, Fix};
use crate::{
    down,
    error::{Context as _, Result},
    instance::Instance,
    netlink::Netlink,
    offload,
    repair::repair,
    say,
};

/// Mends what can be mended safely, saying each thing that is done; what was done, in words. What fails is told, and found again.
pub(super) async fn fix(name: &str, findings: &[Finding]) -> Result<Vec<String>> {
    let netlink = Netlink::connect()?;
    let mut done = Vec::new();
    let mut is_repaired = false;
    for finding in findings {
        let Some(fix) = &finding.fix else { continue };
        // One repair mends all that it can.
        if *fix == Fix::Repair && std::mem::replace(&mut is_repaired, true) {
            continue;
        }
        match perform(name, &netlink, fix).await {
            Ok(words) => {
                for words in &words {
                    say::aside(words);
                }
                done.extend(words);
            }
            Err(error) => say::aside(format_args!("{}: {error}", finding.what)),
        }
    }
    Ok(done)
}

async fn perform(name: &str, netlink: &Netlink, fix: &Fix) -> Result<Vec<String>> {
    let words = match fix {
        Fix::Repair => {
            let report = repair(&Instance::open(name)?, netlink).await?;
            return Ok(report.repairs.iter().map(ToString::to_string).collect());
        }
        Fix::TurnOn(device, feature) => {
            offload::turn_on(*device, feature)?;
            format!("turned {feature} of {} on", device.as_str())
        }
        Fix::Mtu(device, mtu) => {
            netlink.set_mtu(*device, *mtu).await?;
            format!("gave device {device} an MTU of {mtu}")
        }
        Fix::Unlink(path) => {
            fs::remove_file(path).context(|| format!("cannot remove {}", path.display()))?;
            format!("removed {}", path.display())
        }
        Fix::Delete(device) => {
            netlink.delete_link(*device).await?;
            format!("removed device {device}")
        }
        Fix::Down(instance) => {
            down::down(instance).await?;
            format!("took instance {instance} down")
        }
    };
    Ok(vec![words])
}
