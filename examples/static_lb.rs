use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use picluster::*;
fn main() {
    let mut args = std::env::args().skip(1);
    let listen: std::net::SocketAddr = args.next().unwrap().parse().unwrap();
    let workers: usize = args.next().unwrap().parse().unwrap();
    let nodes: Vec<std::net::SocketAddr> = args.map(|a| a.parse().unwrap()).collect();
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    rt.block_on(async move {
        let (publisher, watch) = pool::channel();
        let (feedback, mut fb) = tokio::sync::mpsc::channel(1024);
        let members = nodes.iter().enumerate().map(|(i, a)| pool::Member {
            node: node::Node { id: node::NodeId::new(&format!("n{i}")).unwrap(), name: format!("raspberrypi-b2fkq{i}"), hostname: "x".into(), endpoint: *a, boot: None, source: node::Source::Mdns },
            health: health::Health::Up, why: String::new(), since: Duration::ZERO, advertised: true, last_resort: false, epoch: i as u64, counters: Arc::default(),
        }).collect();
        publisher.publish(members, Duration::ZERO);
        let settings = Arc::new(proxy::Settings {
            limits: config::Limits::default(), hold: Duration::from_secs(5), node_header: true, via: "front-abcdef".into(),
            teaching: proxy::Teaching { html: "x".into(), text: "x".into() }, started: Instant::now(), feedback, held: Default::default(),
        });
        let listeners = listen::bind_shared(listen, "--listen", workers).unwrap();
        let (_tx, phase) = tokio::sync::watch::channel(server::Phase::Serving);
        let _w = server::Workers::start(listeners, 10000, &phase, move || -> Rc<proxy::Worker> { proxy::Worker::start(settings.clone(), watch.clone()) }).unwrap();
        while let Some(x) = fb.recv().await { eprintln!("{x:?}"); }
    });
}
