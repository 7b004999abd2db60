//! Attaching programs to devices, so that they stay when this process ends, and detaching them.

use std::{fs, io, path::PathBuf};

use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType, XdpMode,
    links::{FdLink, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};
use nix::net::if_::if_indextoname;
use overlay_common::{IfIndex, maps::config::TcHook};

use crate::{
    datapath::{self, FROM_UPLINK_XDP, FROM_UPLINK_XDP_GENERIC},
    error::{Context as _, Error, Result},
    instance::Instance,
    netlink::{Link, Netlink},
};

/// How the pinned link of an XDP program is named, whichever it is.
const XDP: &str = "xdp";

/// The file name of a pinned link.
fn pin_of(instance: &Instance, device: IfIndex, program: &str) -> PathBuf {
    instance.links().join(format!("{device}-{program}"))
}

/// A directory that says which clsact filter of a device is ours: there is no link to pin.
fn filter_of(
    instance: &Instance,
    device: IfIndex,
    side: TcAttachType,
    priority: u16,
    handle: u32,
) -> PathBuf {
    let side = if side == TcAttachType::Egress { EGRESS } else { "" };
    filters_of(instance, device).join(format!("{priority}-{handle}{side}"))
}

/// What a note of a filter ends with that is not at the ingress.
const EGRESS: &str = "-egress";

/// The directory of all those.
fn filters_of(instance: &Instance, device: IfIndex) -> PathBuf {
    instance.links().join(format!("{device}-filters"))
}

/// A directory that says that the clsact qdisc of a device was made by this instance.
fn our_qdisc(instance: &Instance, device: IfIndex) -> PathBuf {
    instance.links().join(format!("{device}-clsact"))
}

/// Removes what detaching programs leaves of a device's TC set-up: the clsact qdisc, where we made it and nobody else
/// uses it.
///
/// # Errors
///
/// Fails if the kernel does.
pub async fn tidy(instance: &Instance, netlink: &Netlink, device: IfIndex) -> Result<()> {
    match fs::remove_dir(our_qdisc(instance, device)) {
        Ok(()) => netlink.remove_idle_clsact(device).await,
        Err(_) => Ok(()),
    }
}

/// Whether this kernel has TCX, which Linux 6.6 brought.
#[must_use]
pub fn has_tcx() -> bool {
    aya::util::KernelVersion::current().is_ok_and(|version| version >= aya::util::KernelVersion::new(6, 6, 0))
}

/// Attaches a TC program to the ingress of a device, behind those that are there.
///
/// # Errors
///
/// Fails if the kernel refuses.
pub fn attach_tc(instance: &Instance, hook: TcHook, device: &Link, program: &str) -> Result<()> {
    attach_tc_at(instance, hook, TcAttachType::Ingress, device, program)
}

/// The same on either side of a device.
///
/// # Errors
///
/// Fails if the kernel refuses.
pub fn attach_tc_at(
    instance: &Instance,
    hook: TcHook,
    side: TcAttachType,
    device: &Link,
    program: &str,
) -> Result<()> {
    let mut classifier = datapath::classifier(instance, program)?;
    match hook {
        TcHook::Tcx => attach_tcx(instance, &mut classifier, side, device, program),
        TcHook::Clsact => attach_clsact(instance, &mut classifier, side, device),
    }
    .context(|| format!("cannot attach {program} to {}", device.name))
}

fn attach_tcx(
    instance: &Instance,
    classifier: &mut SchedClassifier,
    side: TcAttachType,
    device: &Link,
    program: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = classifier.attach_with_options(&device.name, side, options)?;
    let link = FdLink::try_from(classifier.take_link(id)?)?;
    link.pin(pin_of(instance, device.index, program))?;
    Ok(())
}

/// A clsact filter stays by itself; what would remove it when this process ends is forgotten.
fn attach_clsact(
    instance: &Instance,
    classifier: &mut SchedClassifier,
    side: TcAttachType,
    device: &Link,
) -> Result<(), Box<dyn std::error::Error>> {
    match tc::qdisc_add_clsact(&device.name) {
        Ok(()) => fs::create_dir_all(our_qdisc(instance, device.index))?,
        Err(TcError::AlreadyAttached) => {}
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let options = TcAttachOptions::Netlink(NlOptions::default());
    let id = classifier.attach_with_options(&device.name, side, options)?;
    let link = classifier.take_link(id)?;
    fs::create_dir_all(filter_of(instance, device.index, side, link.priority()?, link.handle()?.into()))?;
    std::mem::forget(link);
    Ok(())
}

/// Detaches a TC program from a device, if both are still there.
///
/// # Errors
///
/// Fails if the kernel refuses.
pub fn detach_tc(instance: &Instance, hook: TcHook, device: IfIndex, program: &str) -> Result<()> {
    match hook {
        TcHook::Tcx => unpin(instance, device, program),
        TcHook::Clsact => {
            let directory = filters_of(instance, device);
            let Ok(filters) = fs::read_dir(&directory) else { return Ok(()) };
            for filter in filters.flatten() {
                detach_filter(device, &filter.file_name().to_string_lossy())
                    .context(|| format!("cannot detach {program} from device {device}"))?;
            }
            fs::remove_dir_all(&directory).context(|| format!("cannot remove {}", directory.display()))
        }
    }
}

/// Removes the clsact filter that [`filter_of`] has noted, if its device is still there.
fn detach_filter(device: IfIndex, noted: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (noted, side) = match noted.strip_suffix(EGRESS) {
        Some(noted) => (noted, TcAttachType::Egress),
        None => (noted, TcAttachType::Ingress),
    };
    let (priority, handle) = noted.split_once('-').ok_or("not a note of ours")?;
    let (priority, handle) = (priority.parse()?, TcHandle::from(handle.parse::<u32>()?));
    // Of a device that is gone, nix says that it has no name, and no error.
    let name = if_indextoname(device.get()).unwrap_or_default();
    if name.is_empty() {
        return Ok(());
    }
    // The link removes its filter when it goes.
    drop(SchedClassifierLink::attached(name.to_str()?, side, priority, handle, None)?);
    Ok(())
}

/// Whether the TC program with that id is attached to the ingress of a device. One that cannot be asked has none.
pub async fn is_attached(netlink: &Netlink, hook: TcHook, device: &Link, program: u32) -> bool {
    is_attached_at(netlink, hook, TcAttachType::Ingress, device, program).await
}

/// The same on either side of a device.
pub async fn is_attached_at(
    netlink: &Netlink,
    hook: TcHook,
    side: TcAttachType,
    device: &Link,
    program: u32,
) -> bool {
    match hook {
        TcHook::Tcx => SchedClassifier::query_tcx(&device.name, side)
            .is_ok_and(|(_, attached)| attached.iter().any(|info| info.id() == program)),
        TcHook::Clsact => {
            let egress = side == TcAttachType::Egress;
            netlink.has_filter(device.index, egress, program).await.unwrap_or(false)
        }
    }
}

/// Forgets a TC program that somebody else detached, or that went with its device: what is left are our notes of it.
///
/// # Errors
///
/// Fails if a pin cannot be removed.
pub fn forget_tc(instance: &Instance, hook: TcHook, device: IfIndex, program: &str) -> Result<()> {
    if hook == TcHook::Clsact {
        let _ = fs::remove_dir_all(filters_of(instance, device));
    }
    detach_tc(instance, hook, device, program)
}

/// Forgets that the clsact qdisc of a device that is gone was ours: another device can get its index.
pub fn forget_qdisc(instance: &Instance, device: IfIndex) {
    let _ = fs::remove_dir(our_qdisc(instance, device));
}

/// How attaching an XDP program went wrong.
#[derive(Debug)]
pub enum XdpRefusal {
    /// A program of somebody else is on the hook.
    Taken,
    /// The driver has no native XDP, or not for this device as it is.
    Unsupported,
}

/// Attaches the XDP program to a device.
///
/// # Errors
///
/// The outer error if something is broken; the inner one says why this device cannot have it.
pub fn attach_xdp(instance: &Instance, device: &Link, mode: XdpMode) -> Result<Result<(), XdpRefusal>> {
    let name = match mode {
        XdpMode::Skb => FROM_UPLINK_XDP_GENERIC,
        XdpMode::Default | XdpMode::Driver | XdpMode::Hardware => FROM_UPLINK_XDP,
    };
    let mut program = datapath::xdp(instance, name)?;
    let id = match program.attach_to_if_index(device.index.get(), mode) {
        Ok(id) => id,
        Err(ProgramError::SyscallError(error)) => return Ok(Err(refusal(&error.io_error))),
        Err(error) => return Err(Error::failed(format!("cannot attach XDP to {}", device.name), error)),
    };
    let link = program.take_link(id).context(|| "cannot keep the XDP link")?;
    let link = FdLink::try_from(link).context(|| "cannot keep the XDP link")?;
    link.pin(pin_of(instance, device.index, XDP)).context(|| "cannot pin the XDP link")?;
    Ok(Ok(()))
}

fn refusal(error: &io::Error) -> XdpRefusal {
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => XdpRefusal::Taken,
        _ => XdpRefusal::Unsupported,
    }
}

/// Detaches the XDP program from a device, if it is there.
///
/// # Errors
///
/// Fails if the pin cannot be removed.
pub fn detach_xdp(instance: &Instance, device: IfIndex) -> Result<()> {
    unpin(instance, device, XDP)
}

/// Removes a pinned link. The last reference goes here, and the kernel waits until no packet is in the program.
fn unpin(instance: &Instance, device: IfIndex, program: &str) -> Result<()> {
    let path = pin_of(instance, device, program);
    if !fs::exists(&path).context(|| format!("cannot look for {}", path.display()))? {
        return Ok(());
    }
    let link = PinnedLink::from_pin(&path).context(|| format!("cannot open {}", path.display()))?;
    link.unpin().map(drop).context(|| format!("cannot remove {}", path.display()))
}
