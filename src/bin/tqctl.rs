//! tqctl: see `tqserver::ctl`.

fn main() -> std::process::ExitCode {
    tqserver::ctl::main()
}
