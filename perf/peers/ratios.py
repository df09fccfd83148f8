"""From times to ratios: Comity's time over the best peer's, per size, placement and kind of buffers.

A virtual machine's host moves its cores: on two threads of one core a cache line takes 26 ns, elsewhere 190, and
everybody's times follow it, within minutes. Times of different regimes must not be compared. Each record therefore
carries the line latency before and after it, and where two regimes show, each gets a table of its own.
"""

import math
import statistics

PLACES = ("out_of_place", "in_place")


def two_means(values):
    """The centres of two clusters of positive numbers, by their logarithms, lower first."""
    low, high = math.log(min(values)), math.log(max(values))
    for _ in range(20):
        split = (low + high) / 2
        below = [math.log(v) for v in values if math.log(v) <= split]
        above = [math.log(v) for v in values if math.log(v) > split]
        if not above:
            break
        low, high = statistics.median(below), statistics.median(above)
    return math.exp(low), math.exp(high)


class Times:
    """All measurements: [contender][size][place] -> one record per round."""

    def __init__(self):
        self.records = {}
        self.families = {}
        self.aside = set()  # shown, never the best: they lack what every user of the peer should set

    def add(self, contender, sizes):
        self.families[contender.name] = contender.family
        if not contender.tuned:
            self.aside.add(contender.name)
        mine = self.records.setdefault(contender.name, {})
        for size, places in sizes.items():
            for place in PLACES:
                if places.get(place):
                    mine.setdefault(size, {}).setdefault(place, []).append(places[place])

    def _all(self):
        for name, sizes in self.records.items():
            for size, places in sizes.items():
                for place, records in places.items():
                    for record in records:
                        yield name, size, place, record

    def regimes(self):
        """[(typical line latency in ns or None, the Times measured in it)]: one, or two if two clearly show.
        A record that saw the change belongs to neither."""
        seen = [ns for *_, record in self._all() for ns in record.get("line_ns") or [] if ns > 0]
        if not seen:
            return [(None, self)]
        low, high = two_means(seen)
        split = math.sqrt(low * high)
        share = sum(ns > split for ns in seen) / len(seen)
        if high < 2 * low or not 0.05 < share < 0.95:
            return [(statistics.median(seen), self)]
        return [(low, self._where(lambda ns: ns <= split)), (high, self._where(lambda ns: ns > split))]

    def _where(self, accepts):
        found = Times()
        found.families, found.aside = self.families, self.aside
        for name, size, place, record in self._all():
            if all(accepts(ns) for ns in record.get("line_ns") or []):
                found.records.setdefault(name, {}).setdefault(size, {}).setdefault(place, []).append(record)
        return found

    def sizes(self):
        return sorted({size for mine in self.records.values() for size in mine})

    def names(self, ours):
        return [name for name, family in self.families.items() if family.startswith("comity") == ours]

    def times(self, name, size, place, key="median_us"):
        return [record[key] for record in self.records.get(name, {}).get(size, {}).get(place, [])]

    def typical(self, name, size, place, key="median_us"):
        """The median over the rounds, or None if it never ran."""
        times = self.times(name, size, place, key)
        return statistics.median(times) if times else None

    def best_peer(self, size, place, key="median_us"):
        """(name, time) of the fastest peer, or None."""
        found = [(self.typical(name, size, place, key), name) for name in self.names(ours=False)]
        found = [pair for pair in found if pair[1] not in self.aside]
        found = [(time, name) for time, name in found if time is not None]
        return min(found)[::-1] if found else None

    def contenders_worth_keeping(self, slack=1.1):
        """Peers that came within `slack` of the best somewhere."""
        keep = set()
        for _, times in self.regimes():
            for size in times.sizes():
                for place in PLACES:
                    best = times.best_peer(size, place)
                    if best:
                        keep |= times._near(size, place, slack * best[1])
        return keep

    def _near(self, size, place, bound_us):
        found = {name: self.typical(name, size, place) for name in self.names(ours=False)}
        return {name for name, time in found.items() if time is not None and time <= bound_us}


def ratio(times, name, size, place):
    """What the table says of one of Comity's contenders, or None without a peer or a time."""
    ours, best = times.typical(name, size, place), times.best_peer(size, place)
    if ours is None or best is None:
        return None
    mine = times.times(name, size, place)
    fastest = times.best_peer(size, place, "min_us")
    return {
        "comity_us": ours,
        "peer": best[0],
        "peer_us": best[1],
        "ratio": ours / best[1],
        "ratio_low": min(mine) / best[1],
        "ratio_high": max(mine) / best[1],
        "ratio_of_minima": min(times.times(name, size, place, "min_us")) / fastest[1],
    }


def table(times):
    """[{size_bytes, place, contender, ...ratio}] for all of Comity's contenders."""
    rows = []
    for name in times.names(ours=True):
        for place in PLACES:
            for size in times.sizes():
                found = ratio(times, name, size, place)
                if found:
                    rows.append({"contender": name, "place": place, "size_bytes": size, **found})
    return rows


def size_text(size):
    for shift, suffix in ((20, " MiB"), (10, " KiB")):
        if size >= 1 << shift and size % (1 << shift) == 0:
            return f"{size >> shift}{suffix}"
    return f"{size} B"


def time_text(us):
    return f"{us:.2f}" if us < 100 else f"{us:.0f}"


def _cell(row):
    return f"{row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})" if row else ""


def markdown(rows, times):
    """Ratios side by side, one line per size; then the times behind them."""
    columns = [(name, place) for name in times.names(ours=True) for place in reversed(PLACES)]
    cells = {(row["contender"], row["place"], row["size_bytes"]): row for row in rows}
    titles = [f"{name.removeprefix('comity ')}, {place.replace('_', ' ')}" for name, place in columns]
    lines = ["| size | " + " | ".join(titles) + " | best peer, out of place |"]
    lines.append("|---" * (len(columns) + 2) + "|")
    for size in times.sizes():
        found = [_cell(cells.get((*column, size))) for column in columns]
        best = times.best_peer(size, "out_of_place")
        peer = f"{time_text(best[1])} us, {best[0]}" if best else ""
        lines.append(f"| {size_text(size)} | " + " | ".join(found) + f" | {peer} |")
    return "\n".join(lines)


def times_markdown(times):
    """Medians in us of everyone who ran, out of place / in place."""
    lines = ["| contender | " + " | ".join(size_text(size) for size in times.sizes()) + " |"]
    lines.append("|---" * (len(times.sizes()) + 1) + "|")
    for name in times.names(ours=True) + times.names(ours=False):
        cells = []
        for size in times.sizes():
            both = [times.typical(name, size, place) for place in PLACES]
            cells.append(" / ".join(time_text(time) for time in both if time is not None))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
