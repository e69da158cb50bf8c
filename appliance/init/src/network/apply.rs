//! Putting a lease into force and taking it back: address, routes, resolver.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use futures_util::StreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::route::{RouteMessage, RouteScope};
use rtnetlink::{AddressMessageBuilder, Handle, LinkUnspec, RouteMessageBuilder};
use tracing::{info, warn};

use super::lease::{Lease, Route};

/// Most addresses of an interface that are looked at.
const MAX_ADDRESSES: usize = 64;
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Puts `lease` into force on the interface `index`. What fails is logged and the rest is done.
pub(super) async fn apply(handle: &Handle, index: u32, lease: &Lease) {
    info!(address = lease.cidr(), name_servers = ?lease.name_servers, domain = ?lease.domain, "lease");
    // First, since the kernel drops an address together with an older one of the same network.
    remove_others(handle, index, lease).await;
    let address = handle
        .address()
        .add(index, IpAddr::V4(lease.address), lease.prefix)
        .replace();
    if let Err(error) = address.execute().await {
        warn!(address = lease.cidr(), %error, "address not set");
    }
    if let Some(mtu) = lease.mtu {
        let link = LinkUnspec::new_with_index(index).mtu(mtu.into()).build();
        if let Err(error) = handle.link().set(link).execute().await {
            warn!(mtu, %error, "packet length not set");
        }
    }
    for route in in_order(&lease.routes) {
        if let Err(error) = handle
            .route()
            .add(message(index, route))
            .replace()
            .execute()
            .await
        {
            warn!(?route, %error, "route not set");
        }
    }
    if let Err(error) = write_resolv_conf(Path::new(RESOLV_CONF), &lease.resolv_conf()) {
        warn!(%error, "{RESOLV_CONF} not written");
    }
}

/// Takes away what an earlier run of this process may have left behind.
async fn remove_others(handle: &Handle, index: u32, lease: &Lease) {
    let found = handle
        .address()
        .get()
        .set_link_index_filter(index)
        .execute();
    let found: Vec<AddressMessage> = found
        .take(MAX_ADDRESSES)
        .filter_map(async |found| found.ok())
        .collect()
        .await;
    for address in found
        .into_iter()
        .filter(|address| is_other(address, index, lease))
    {
        if let Err(error) = handle.address().del(address).execute().await {
            warn!(%error, "an old address stays");
        }
    }
}

/// The kernel may list the addresses of all interfaces, whatever was asked.
fn is_other(message: &AddressMessage, index: u32, lease: &Lease) -> bool {
    let here = message.header.index == index;
    here && message.attributes.iter().any(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => *address != lease.address,
        _ => false,
    })
}

/// Takes `lease` back; what is gone already is no matter.
pub(super) async fn remove(handle: &Handle, index: u32, lease: &Lease) {
    info!(address = lease.cidr(), "lease taken back");
    for route in &lease.routes {
        let _ = handle.route().del(message(index, *route)).execute().await;
    }
    let address = AddressMessageBuilder::<Ipv4Addr>::new()
        .index(index)
        .address(lease.address, lease.prefix)
        .build();
    if let Err(error) = handle.address().del(address).execute().await {
        info!(address = lease.cidr(), %error, "address was gone");
    }
}

/// Routes on the link before those through routers, which may be reached by them.
fn in_order(routes: &[Route]) -> Vec<Route> {
    let mut routes = routes.to_vec();
    routes.sort_by_key(|route| !route.router.is_unspecified());
    routes
}

fn message(index: u32, route: Route) -> RouteMessage {
    let builder = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(route.destination, route.prefix)
        .output_interface(index);
    match route.router.is_unspecified() {
        true => builder.scope(RouteScope::Link).build(),
        false => builder.gateway(route.router).build(),
    }
}

/// Replaces the file whole, so that no reader sees half of it.
fn write_resolv_conf(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("conf.new");
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_on_the_link_come_before_those_that_need_them() {
        let far = Route {
            destination: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            router: Ipv4Addr::new(10, 0, 0, 1),
        };
        let near = Route {
            destination: Ipv4Addr::new(10, 0, 0, 1),
            prefix: 32,
            router: Ipv4Addr::UNSPECIFIED,
        };
        assert_eq!(in_order(&[far, near]), [near, far]);
    }

    #[test]
    fn the_resolver_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/resolv.conf");
        write_resolv_conf(&path, "nameserver 10.0.0.1\n").unwrap();
        write_resolv_conf(&path, "nameserver 10.0.0.2\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "nameserver 10.0.0.2\n");
        assert_eq!(fs::read_dir(dir.path().join("etc")).unwrap().count(), 1);
    }
}
