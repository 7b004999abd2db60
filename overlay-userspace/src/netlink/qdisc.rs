use futures_util::TryStreamExt as _;
use netlink_packet_route::tc::TcHandle;
use overlay_common::IfIndex;

use super::Netlink;
use crate::error::{Context as _, Result};

/// Where a clsact qdisc hangs (`TC_H_CLSACT` in `include/uapi/linux/pkt_sched.h`).
const CLSACT: TcHandle = TcHandle { major: 0xffff, minor: 0xfff1 };

impl Netlink {
    /// Removes the clsact qdisc of a device, if no filter hangs on it any more.
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
        request.execute().await.context(what)
    }
}
