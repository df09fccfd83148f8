"""Every collective beside the peers, in one table: what `./dev peers --all` adds to the rounds of peers.py."""

import contenders
import ratios

COLLECTIVES = ("all_reduce", "reduce", "broadcast", "all_gather", "reduce_scatter", "all_to_all", "all_to_all_v",
               "gather", "scatter", "send_recv", "barrier")
WIRES = ("shm", "tcp-loopback")
BUFFERS = ("registered", "plain")
MISS = 1.0


def load(arguments, collective):
    """Four sizes that stand for the regimes: latency, small, middle, large; fewer and shorter calls with --quick.

    Blocks of lengths of their own are of units, of which two ranks give three in all: sizes that divide evenly."""
    first, last = (12, 24 << 20) if collective.endswith("_v") else (8, 16 << 20)
    found = contenders.Load(first, last, factor=128, calls=1000, volume=1 << 30, seconds=1.0)
    if arguments.quick:
        found = contenders.Load(first, last, factor=128, calls=100, warmup=3, volume=128 << 20, seconds=0.3)
    return found


def _largest_regime(times):
    """Times of different regimes are not compared: the one that holds most is."""
    parts = [part for _, part in times.regimes()]
    return max(parts, key=lambda part: sum(1 for _ in part._all()))


def cells(results):
    """{(collective, size): {(wire, buffers, place): ratio's row}}, in the order of COLLECTIVES."""
    found = {}
    for (collective, wire), (times, _) in results.items():
        for row in ratios.table(_largest_regime(times)):
            buffers = row["contender"].removeprefix("comity ")
            found.setdefault((collective, row["size_bytes"]), {})[wire, buffers, row["place"]] = row
    order = {name: i for i, name in enumerate(COLLECTIVES)}
    return dict(sorted(found.items(), key=lambda item: (order[item[0][0]], item[0][1])))


def _cell(row):
    if row is None:
        return ""
    text = f"{row['ratio']:.2f}"
    return f"**{text}**" if row["ratio"] > MISS else text


def table(results):
    columns = [(wire, buffers, place) for wire in WIRES for buffers in BUFFERS for place in reversed(ratios.PLACES)]
    titles = [f"{wire}, {buffers}, {place.replace('_', ' ')}" for wire, buffers, place in columns]
    lines = ["| collective | size | " + " | ".join(titles) + " |", "|---" * (len(columns) + 2) + "|"]
    for (collective, size), row in cells(results).items():
        size_text = ratios.size_text(size) if size else ""
        lines.append(f"| {collective} | {size_text} | " + " | ".join(_cell(row.get(column)) for column in columns) + " |")
    return "\n".join(lines)


def misses(results):
    """One line for each cell where a peer is faster, the worst first."""
    rows = [(row["ratio"], collective, size, *column, row)
            for (collective, size), mine in cells(results).items() for column, row in mine.items() if row["ratio"] > MISS]
    rows.sort(key=lambda found: -found[0])
    return [f"| {collective} {ratios.size_text(size) if size else ''} | {wire}, {buffers}, {place.replace('_', ' ')} | {value:.2f} |"
            f" {ratios.time_text(row['comity_us'])} | {ratios.time_text(row['peer_us'])} | {row['peer']} |"
            for value, collective, size, wire, buffers, place, row in rows]


def _without_command(failure):
    """Who failed and how: "MPICH default: not done within 90 s"."""
    return ": ".join(failure.splitlines()[0].split(": ")[:2])


def markdown(document, results):
    line = [document[when].get("line_latency_ns", 0) for when in ("limits_before", "limits_after")]
    all_cells = sum(len(row) for row in cells(results).values())
    missed = misses(results)
    lines = [
        f"# Every collective beside Open MPI and MPICH, {document['date'][:10]}",
        "",
        f"{document['cpu']}, {document['cores']} cores; {document['ranks']} ranks; float, sum; each owner rewrites its",
        f"input before each call; {document['rounds']} interleaved rounds{' of fewer calls (--quick)' if document['quick'] else ''};"
        f" commit {document['commit']}.",
        f"One-way latency of a cache line {line[0]:.0f} ns before and {line[1]:.0f} ns after; load average "
        f"{document['load_average'][0]:.1f}; congestion control of everyone {document['congestion']}.",
        "A cell is Comity's median over that of the best peer at its best setting; below 1 Comity is faster, bold: a miss.",
        "The size is that of the whole; MPI_Bcast and a barrier have one form. An empty cell: no such call in place.",
        "",
        f"{all_cells - len(missed)} of {all_cells} cells are at or below 1.",
        "",
        table(results),
    ]
    if missed:
        lines += ["", "## Misses", "", "| what | where | ratio | Comity, us | peer, us | which |", "|---" * 6 + "|", *missed]
    failures = [f"- {collective}, {wire}: {_without_command(failure)}"
                for (collective, wire), (_, failed) in results.items() for failure in failed]
    if failures:
        lines += ["", "## Runs that failed", "", *failures]
    return "\n".join(lines) + "\n"
