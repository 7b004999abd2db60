use futures_util::TryStreamExt as _;
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption};
use overlay_common::IfIndex;

use super::Netlink;
use crate::error::{Context as _, Result};

/// Where a clsact qdisc hangs (`TC_H_CLSACT` in `include/uapi/linux/pkt_sched.h`).
const CLSACT: TcHandle = TcHandle { major: 0xffff, minor: 0xfff1 };

impl Netlink {
    /// Removes the clsact qdisc of a device, if no filter hangs on it any more, and the device is there.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn remove_idle_clsact(&self, device: IfIndex) -> Result<()> {
        let what = || format!("cannot remove the clsact qdisc of device {device}");
        let index = i32::try_from(device.get()).context(what)?;
        for filters in [
            self.handle.traffic_filter(index).get().ingress(),
            self.handle.traffic_filter(index).get().egress(),
        ] {
            let filters: Vec<_> = filters.execute().try_collect().await.context(what)?;
            if !filters.is_empty() {
                return Ok(());
            }
        }
        let mut request = self.handle.qdisc().del(index);
        request.message_mut().header.parent = CLSACT;
        match request.execute().await {
            // It went with the device.
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => Ok(()),
            done => done.context(what),
        }
    }

    /// The filters at the ingress of a device's clsact qdisc, in their order: the id of the BPF program that each runs, 0 if it is
    /// none, and its name or kind.
    ///
    /// # Errors
    ///
    /// Fails for an index that no device can have.
    pub async fn filters(&self, device: IfIndex) -> Result<Vec<(u32, String)>> {
        let index = i32::try_from(device.get()).context(|| format!("device {device} has no such index"))?;
        let filters: Result<Vec<_>, _> =
            self.handle.traffic_filter(index).get().ingress().execute().try_collect().await;
        // A filter that a priority has yet to be filled with has no options.
        Ok(filters.unwrap_or_default().iter().filter_map(described).collect())
    }

    /// Whether filters hang on the clsact qdisc of a device, besides those that run the BPF program with the id `ours`.
    ///
    /// # Errors
    ///
    /// Fails for an index that no device can have.
    pub async fn has_other_filters(&self, device: IfIndex, ours: u32) -> Result<bool> {
        let index = i32::try_from(device.get()).context(|| format!("device {device} has no such index"))?;
        for request in [
            self.handle.traffic_filter(index).get().ingress(),
            self.handle.traffic_filter(index).get().egress(),
        ] {
            // Without such a qdisc there is nothing to list.
            let filters: Vec<_> = request.execute().try_collect().await.unwrap_or_default();
            let is_other =
                |filter: &&TcMessage| filter.header.handle != TcHandle::default() && !runs(filter, ours);
            // Every priority has a message of its own beside those of its filters.
            if filters.iter().any(|filter| is_other(&filter)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The kinds of queueing disciplines, with their devices.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn queues(&self) -> Result<Vec<(IfIndex, String)>> {
        let all: Vec<_> = self
            .handle
            .qdisc()
            .get()
            .execute()
            .try_collect()
            .await
            .context(|| "cannot list queueing disciplines")?;
        let queue = |message: TcMessage| {
            let device = IfIndex::new(u32::try_from(message.header.index).ok()?)?;
            message.attributes.into_iter().find_map(|attribute| match attribute {
                TcAttribute::Kind(kind) => Some((device, kind)),
                _ => None,
            })
        };
        Ok(all.into_iter().filter_map(queue).collect())
    }

    /// Whether a filter at the ingress, or the egress, of a device's clsact qdisc runs the BPF program with that id.
    ///
    /// # Errors
    ///
    /// Fails for an index that no device can have.
    pub async fn has_filter(&self, device: IfIndex, egress: bool, program: u32) -> Result<bool> {
        let index = i32::try_from(device.get()).context(|| format!("device {device} has no such index"))?;
        let request = self.handle.traffic_filter(index).get();
        let request = if egress { request.egress() } else { request.ingress() };
        let filters: Result<Vec<_>, _> = request.execute().try_collect().await;
        Ok(filters.is_ok_and(|filters| filters.iter().any(|filter| runs(filter, program))))
    }
}

fn runs(filter: &TcMessage, program: u32) -> bool {
    filter.attributes.iter().any(|attribute| match attribute {
        TcAttribute::Options(options) => options.contains(&TcOption::Bpf(TcFilterBpfOption::ProgId(program))),
        _ => false,
    })
}

fn described(filter: &TcMessage) -> Option<(u32, String)> {
    let (mut id, mut name) = (0, String::new());
    let mut has_options = false;
    for attribute in &filter.attributes {
        match attribute {
            TcAttribute::Kind(kind) if name.is_empty() => name.clone_from(kind),
            TcAttribute::Options(options) => {
                has_options = !options.is_empty();
                for option in options {
                    match option {
                        TcOption::Bpf(TcFilterBpfOption::ProgId(program)) => id = *program,
                        TcOption::Bpf(TcFilterBpfOption::ProgName(program)) => name.clone_from(program),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    has_options.then_some((id, name))
}
