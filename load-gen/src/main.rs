//! The command line of the load generator: what was typed, progress while it runs, the words at the end.

use std::io::{self, ErrorKind, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use logdrive_load::files::{Full, Means, Rotation};
use logdrive_load::format::Format;
use logdrive_load::journal::{Claim, Header, LATE_NS};
use logdrive_load::payload::LineBytes;
use logdrive_load::run::{End, FILES_MAX, Options, Progress, SystemClock, Text, Writes, run};
use logdrive_load::schedule::Rate;
use logdrive_load::spread::Spread;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Writes stamped log lines by a schedule that nobody can slow down.
///
/// Lines go to DIR/load-<writer>.log. Each carries its writer, sequence number, file generation, the time
/// at which it was due and a checksum; `logdrive-bench verify` counts what became of them.
#[derive(Parser)]
#[command(name = "logdrive-load", version)]
struct Args {
    /// Where the files are created; must not hold those of an earlier run
    #[arg(long)]
    dir: PathBuf,
    /// How many files are written side by side
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(FILES_MAX)))]
    files: u32,
    /// How lines are spread over the files: `uniform` (in turn), or by chance as in `zipf:1.1`
    #[arg(long, default_value = "uniform")]
    spread: Spread,
    /// How many threads share the files
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// Lines a second over all files: `20000`, `max`, `steps:1000x10s,5000x10s`, `ramp:1000..50000/60s`,
    /// `bursts:1000,50000x200ms/5s` (quiet, then the burst, in each period), `curve:FILE`; `poisson:`
    /// before any of these but `max` makes the distances random [default: 1000, or as the replayed log]
    #[arg(long, conflicts_with = "speed")]
    rate: Option<String>,
    /// Stop after so many lines in all
    #[arg(long, conflicts_with = "duration")]
    lines: Option<u64>,
    /// Stop after so much time [default: that of the schedule or log if it ends, or else 10s]
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// What records look like
    #[arg(long, default_value = "plain", value_parser = format(), conflicts_with = "replay")]
    format: Format,
    /// Length of a record with its stamp, without its end: `200`, `100..300` (evenly spread) or
    /// `lognormal:200,0.8` (median, deviation of the logarithm) [default: as the format usually is]
    #[arg(long, conflicts_with = "replay")]
    line_bytes: Option<LineBytes>,
    /// Write the lines of this log again, each with its stamp in a field at its end
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// How much faster than the log was written
    #[arg(long, requires = "replay", default_value_t = 1.0)]
    speed: f64,
    /// How a full file makes room
    #[arg(long, value_enum, default_value_t = Rotate::None)]
    rotate: Rotate,
    /// A file is full at this size (`64KiB`, `10MB`)
    #[arg(long, value_parser = size, conflicts_with_all = ["rotate_lines", "rotate_every"])]
    rotate_bytes: Option<u64>,
    /// A file is full after so many lines
    #[arg(long, conflicts_with = "rotate_every", value_parser = clap::value_parser!(u64).range(1..))]
    rotate_lines: Option<u64>,
    /// A file is full after so much time; the files of a run take turns
    #[arg(long, value_parser = duration)]
    rotate_every: Option<Duration>,
    /// Delete rotated files beyond so many of each writer; without this all are kept
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Seed of everything that is drawn: the text, random distances, random files
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One write for each line, or one for all lines of a tick
    #[arg(long, value_enum, default_value_t = Buffer::Buffered)]
    buffer: Buffer,
    /// The shortest time between two looks for lines that are due
    #[arg(long, default_value = "1ms", value_parser = duration)]
    tick: Duration,
    /// Where to say what was written, for `logdrive-bench verify`
    #[arg(long)]
    journal: Option<PathBuf>,
}

#[derive(Copy, Clone, ValueEnum)]
enum Rotate {
    None,
    Rename,
    Copytruncate,
}

#[derive(Copy, Clone, ValueEnum)]
enum Buffer {
    Single,
    Buffered,
}

fn main() -> ExitCode {
    match load(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let advice = if is_full(&error) { "; make room, or rotate with --keep" } else { "" };
            eprintln!("error: {error:#}{advice}");
            ExitCode::FAILURE
        }
    }
}

fn is_full(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

fn load(args: &Args) -> anyhow::Result<()> {
    let options = options(args)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one of its kind ends the process as if nobody had asked.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot catch signals")?;
    }
    // The journal may stand in the directory that the run creates.
    if args.journal.as_ref().is_some_and(|journal| journal.starts_with(&options.dir)) {
        std::fs::create_dir_all(&options.dir)
            .with_context(|| format!("cannot use directory {}", options.dir.display()))?;
    }
    let claim = args.journal.as_deref().map(Claim::of).transpose()?;
    let bar = progress_bar();
    let journal = run(&options, &mut SystemClock::default(), &stop, |progress| show(&bar, progress))?;
    bar.finish_and_clear();
    if let Some(claim) = claim {
        claim.fill(&journal)?;
    }
    println!("{}", summary(&journal.header, options.tick));
    Ok(())
}

fn options(args: &Args) -> anyhow::Result<Options> {
    if args.tick.is_zero() {
        bail!("--tick 0 would never sleep: try 1ms");
    }
    let (text, rate) = (text(args)?, rate(args)?);
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Options {
        dir: args.dir.clone(),
        files: args.files,
        threads: args.threads,
        spread: args.spread,
        end: end(args, &rate),
        rate,
        text,
        rotation: rotation(args)?,
        seed: args.seed,
        run: run_number(started, std::process::id()),
        writes: match args.buffer {
            Buffer::Single => Writes::Single,
            Buffer::Buffered => Writes::Buffered,
        },
        tick: args.tick,
    })
}

fn text(args: &Args) -> anyhow::Result<Text> {
    if let Some(log) = &args.replay {
        return Ok(Text::Log(log.clone()));
    }
    let usual = || args.format.line_bytes().parse().map_err(anyhow::Error::msg);
    Ok(Text::Made { format: args.format, line_bytes: args.line_bytes.map_or_else(usual, Ok)? })
}

fn rate(args: &Args) -> anyhow::Result<Rate> {
    if !(args.speed.is_finite() && args.speed > 0.0) {
        bail!("--speed {}: a log is written again at a speed above 0", args.speed);
    }
    match &args.rate {
        Some(rate) => Rate::parse(rate).map_err(|error| anyhow!("--rate {error}")),
        None if args.replay.is_some() => Ok(Rate::AsLogged(args.speed)),
        None => Rate::parse("1000").map_err(anyhow::Error::msg),
    }
}

fn end(args: &Args, rate: &Rate) -> End {
    let by_itself = match rate {
        _ if args.replay.is_some() => Some(Duration::MAX),
        Rate::Scheduled(schedule) => schedule.length(),
        Rate::Max | Rate::AsLogged(_) => None,
    };
    let after = args.duration.or(by_itself).unwrap_or(Duration::from_secs(10));
    args.lines.map_or(End::After(after), End::Lines)
}

fn rotation(args: &Args) -> anyhow::Result<Option<Rotation>> {
    let full = match (args.rotate_bytes, args.rotate_lines, args.rotate_every) {
        (Some(bytes), _, _) => Some(Full::Bytes(bytes)),
        (_, Some(lines), _) => Some(Full::Lines(lines)),
        (_, _, Some(period)) if period.is_zero() => bail!("--rotate-every 0 would rotate for ever: try 2s"),
        (_, _, Some(period)) => Some(Full::Every(period)),
        _ => None,
    };
    let means = match args.rotate {
        Rotate::None if full.is_some() || args.keep.is_some() => {
            bail!("files are not rotated: add --rotate rename or --rotate copytruncate")
        }
        Rotate::None => return Ok(None),
        Rotate::Rename => Means::Rename,
        Rotate::Copytruncate => Means::CopyTruncate,
    };
    let full = full.context("when is a file full? add --rotate-bytes, --rotate-lines or --rotate-every")?;
    Ok(Some(Rotation { means, full, keep: args.keep }))
}

/// A number that the next run will not have.
fn run_number(started: Duration, process: u32) -> u32 {
    let mut bytes = [0; 20];
    bytes[..16].copy_from_slice(&started.as_nanos().to_le_bytes());
    bytes[16..].copy_from_slice(&process.to_le_bytes());
    crc32c::crc32c(&bytes)
}

fn format() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).map(|name| {
        let named = Format::ALL.into_iter().find(|format| format.name() == name);
        named.expect("only names of formats are possible")
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; try `500ms` or `10s`"))
}

/// Reads `65536`, `64KiB`, `10MB`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("`{unit}` is no unit of size; try `64KiB` or `10MB`")),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is not a size; try `64KiB`"))?;
    number.checked_mul(factor).filter(|size| *size > 0).ok_or_else(|| format!("`{text}` is no possible size"))
}

fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:32} {human_pos}/{human_len} lines, {elapsed}, {msg}");
    ProgressBar::no_length().with_style(style.expect("the template is well formed"))
}

fn show(bar: &ProgressBar, progress: &Progress) {
    if bar.is_hidden() {
        return;
    }
    if let Some(total) = progress.lines_total {
        bar.set_length(total);
    }
    bar.set_position(progress.lines);
    let per_second = |ns: u64| progress.lines as f64 * 1e9 / ns.max(1) as f64;
    let (achieved, intended) = (per_second(progress.elapsed_ns), per_second(progress.due_ns));
    let late = milliseconds(progress.lateness_max_ns);
    bar.set_message(format!("{achieved:.0} of {intended:.0} lines/s, at most {late} late"));
}

fn summary(header: &Header, tick: Duration) -> String {
    let pace = &header.pace;
    let wrote = format!(
        "wrote {} lines, {} bytes to {} files: {:.0} lines/s",
        header.lines, header.bytes, header.files, pace.achieved_per_second
    );
    let Some(intended) = pace.intended_per_second else {
        return format!("{wrote}, as fast as possible");
    };
    let [half, most, worst] =
        [pace.lateness_p50_ns, pace.lateness_p99_ns, pace.lateness_max_ns].map(milliseconds);
    let kept = match pace.lines_late {
        0 => format!(
            "the schedule was kept: half of the lines were at most {half} late, 99 % {most}, all {worst}"
        ),
        late => format!(
            "THE SCHEDULE WAS NOT KEPT: {late} lines ({:.3} %) were more than {} late, the worst {worst}; \
             likely cause: a busy machine, or more lines a second than it can write",
            100.0 * late as f64 / header.lines as f64,
            milliseconds(LATE_NS + tick.as_nanos() as u64),
        ),
    };
    let digits = if intended < 10.0 { 2 } else { 0 };
    format!("{wrote} of {intended:.digits$} intended; {kept}")
}

fn milliseconds(ns: u64) -> String {
    let digits = if ns < 1_000_000 { 3 } else { 1 };
    format!("{:.digits$} ms", ns as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use logdrive_load::journal::Pace;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    fn typed(line: &str) -> anyhow::Result<Options> {
        let args =
            Args::try_parse_from(["logdrive-load", "--dir", "d"].into_iter().chain(line.split_whitespace()))?;
        options(&args)
    }

    #[test]
    fn rotation_needs_means_and_moment() {
        let rotation = typed("--rotate rename --rotate-bytes 64KiB --keep 3").unwrap().rotation;
        assert_eq!(
            rotation,
            Some(Rotation { means: Means::Rename, full: Full::Bytes(65_536), keep: Some(3) })
        );
        for wrong in [
            "--rotate rename",
            "--rotate-bytes 64KiB",
            "--keep 3",
            "--rotate rename --rotate-bytes 1MB --rotate-lines 5",
            "--rotate rename --rotate-every 0s",
            "--rotate rename --rotate-bytes 0",
            "--tick 0s",
            "--files 0",
            "--files 65537",
            "--rate 0",
            "--rate 2000000000",
            "--rate slow",
            "--speed 2",
            "--replay x --speed 0",
            "--replay x --speed 2 --rate 5",
            "--replay x --format json",
            "--format xml",
            "--lines 5 --duration 3s",
        ] {
            assert!(typed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_run_ends_with_its_schedule_unless_told() {
        let end = |line| typed(line).unwrap().end;
        let seconds = |seconds| End::After(Duration::from_secs(seconds));
        assert_eq!(end(""), seconds(10));
        assert_eq!(end("--rate ramp:1..5/60s"), seconds(60));
        assert_eq!(end("--rate ramp:1..5/60s --duration 5s"), seconds(5));
        assert_eq!(end("--rate ramp:1..5/60s --lines 7"), End::Lines(7));
        assert_eq!(end("--replay old.log"), End::After(Duration::MAX));
    }

    #[test]
    fn a_replay_has_its_own_pace_unless_told() {
        assert_eq!(typed("--replay old.log").unwrap().rate, Rate::AsLogged(1.0));
        assert_eq!(typed("--replay old.log --speed 2.5").unwrap().rate, Rate::AsLogged(2.5));
        assert_eq!(typed("--replay old.log --rate max").unwrap().rate, Rate::Max);
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!([size("7"), size("64KiB"), size("10MB")], [Ok(7), Ok(65_536), Ok(10_000_000)]);
        for wrong in ["", "KiB", "10 parsecs", "-1", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_run_behind_its_schedule_says_so() {
        let mut header = Header {
            journal: 1,
            run: 1,
            seed: 1,
            files: 1,
            lines: 1000,
            bytes: 201_000,
            pace: Pace {
                intended_per_second: Some(1000.0),
                achieved_per_second: 999.6,
                lateness_p50_ns: 61_000,
                lateness_p99_ns: 200_000,
                lateness_max_ns: 900_000,
                lines_late: 0,
            },
            ..Header::default()
        };
        let tick = Duration::from_millis(1);
        expect_test::expect!["wrote 1000 lines, 201000 bytes to 1 files: 1000 lines/s of 1000 intended; the schedule was kept: half of the lines were at most 0.061 ms late, 99 % 0.200 ms, all 0.900 ms"]
            .assert_eq(&summary(&header, tick));
        header.pace.lines_late = 20;
        header.pace.lateness_max_ns = 31_000_000;
        expect_test::expect!["wrote 1000 lines, 201000 bytes to 1 files: 1000 lines/s of 1000 intended; THE SCHEDULE WAS NOT KEPT: 20 lines (2.000 %) were more than 11.0 ms late, the worst 31.0 ms; likely cause: a busy machine, or more lines a second than it can write"]
            .assert_eq(&summary(&header, tick));
    }
}
