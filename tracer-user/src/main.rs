//! Try-out.
fn main() -> anyhow::Result<()> {
    let t = std::time::Instant::now();
    let btf = tracer::kernel::btf::Btf::of_kernel()?;
    println!("btf {:?}", t.elapsed());
    let f = tracer::kernel::features::Features::detect(&btf);
    println!("features {:?} {:?}", t.elapsed(), f.missing);
    for fact in tracer_common::config::Offsets::FACTS { let v = f.config.offsets.get(fact.name).unwrap(); if v == u32::MAX { println!("missing {}", fact.name); } }
    let abtf = aya::Btf::from_sys_fs()?;
    println!("aya btf {:?}", t.elapsed());
    let pid: u32 = std::env::args().nth(1).unwrap().parse()?;
    let mut a = tracer::kernel::load::attach(&f, &abtf, &[pid], true)?;
    println!("attached {:?} missing {:#?}", t.elapsed(), a.missing);
    let s = tracer::kernel::symbols::KernelSymbols::read()?;
    println!("symbols {:?}", t.elapsed());
    let mut r = tracer::kernel::reader::Reader::new(&mut a.ebpf, s)?;
    let mut out = vec![];
    for _ in 0..100 { std::thread::sleep(std::time::Duration::from_millis(20)); r.poll(&mut out); }
    r.finish(&mut out);
    for e in out.iter().take(3000) { println!("{e:?}"); }
    println!("{:?} {:?}", r.received(), tracer::kernel::reader::losses(&a.ebpf)?);
    Ok(())
}
