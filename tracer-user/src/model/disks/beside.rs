//! What a request had beside it on its device.

use tracer_common::block::IO_PART;

use super::{discard::moves_nothing, disk::Disk, request::Request, service::Load};

/// Requests looked at beside one. That is deeper than any disk's queue, and bounds the work for one request.
const MOST_OTHERS: usize = 512;
/// Beside this a request was not alone on the device, but has the whole of it.
pub(super) const NEXT_TO_NOTHING: Load = Load {
    ios: 0.0,
    bytes: 1.0,
};

impl Disk {
    fn load(&self, request: &Request, cost: f64) -> Load {
        let moves = !moves_nothing(request.op);
        Load {
            ios: f64::from(u8::from(moves && request.flags & IO_PART == 0)),
            bytes: match moves {
                true => f64::from(request.bytes),
                false => self.demand_at(request, cost),
            },
        }
    }

    /// Load of the other requests in flight when this one was issued. It is 0 only if none shared the device with it at any time.
    pub(super) fn others(&self, request: &Request) -> Load {
        let cost = self.fit.cost();
        let near = self.range(request.issue_ns, request.end_ns);
        let near = near.take(MOST_OTHERS);
        let beside = near.filter(|other| other.issue_ns < request.end_ns && *other != request);
        let (mut at_issue, mut later) = (Load::default(), Load::default());
        for other in beside {
            let load = self.load(other, cost);
            match other.issue_ns <= request.issue_ns {
                true => at_issue.add(load),
                false => later.add(load),
            }
        }
        // One that came later delayed this one only on a device that serves several at once. It only decides whether this one was
        // alone.
        if at_issue == Load::default() && later != Load::default() {
            NEXT_TO_NOTHING
        } else {
            at_issue
        }
    }
}
