package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

func (r *benchCmd) print(w io.Writer, all []*contestant, nodes int) {
	fmt.Fprintf(w, "%s, %v for each, in turns. \"many\" is %s on different keys.\n\n", plural(nodes, "node", "nodes"), r.Duration,
		plural(r.Workers, "worker", "workers"))
	var lines [][]string
	var alone, many [][]time.Duration
	var names []string
	for _, c := range all {
		for _, p := range []struct {
			name string
			t    *tally
		}{{"one at a time", &c.alone}, {"many", &c.many}} {
			p.t.sort()
			a, rel := p.t.acquire, p.t.release
			lines = append(lines, []string{c.name, p.name, brief(quantile(a, 0.5)), brief(quantile(a, 0.99)), brief(quantile(a, 1)), brief(quantile(rel, 0.5)),
				thousands(int(p.t.rate())), perLock(p.t.cpu.servers, p.t), perLock(p.t.cpu.client, p.t), thousands(p.t.failures)})
		}
		names, alone, many = append(names, c.name), append(alone, c.alone.acquire), append(many, c.many.acquire)
	}
	table(w, []string{"", "", ">ACQUIRE p50", ">p99", ">MAX", ">RELEASE p50", ">LOCKS/s", ">SERVERS", ">CLIENT", ">FAILED"}, lines)
	draw(w, "Time to acquire, one at a time", names, alone)
	draw(w, "Time to acquire, many", names, many)
	for _, c := range all {
		if err := errors.Join(c.alone.failure, c.many.failure); err != nil {
			fmt.Fprintf(w, "\n%s failed, for example: %s\n", c.name, shown(strings.ReplaceAll(err.Error(), "\n", "; ")))
		}
	}
}

// draw prints the distribution of each row of sorted samples as blocks of
// different heights, all rows on the same logarithmic scale.
func draw(w io.Writer, title string, names []string, rows [][]time.Duration) {
	const columns = 60
	lo, hi := time.Duration(math.MaxInt64), time.Duration(0)
	for _, row := range rows {
		if len(row) > 0 {
			lo, hi = min(lo, row[0]), max(hi, quantile(row, 0.999))
		}
	}
	if hi <= lo {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	for i, row := range rows {
		fmt.Fprintf(w, "  %-8s %s\n", names[i], strings.TrimRight(bars(row, lo, hi, columns), " "))
	}
	middle := time.Duration(math.Sqrt(float64(lo) * float64(hi)))
	fmt.Fprintf(w, "  %-8s %-*s%-*s%s\n", "", columns/2-2, brief(lo), columns/2-2, brief(middle), brief(hi))
}

// bars returns one block for each part of the scale from lo to hi.
func bars(samples []time.Duration, lo, hi time.Duration, columns int) string {
	counts, most := make([]int, columns), 1
	for _, d := range samples {
		i := int(math.Log(float64(d)/float64(lo)) / math.Log(float64(hi)/float64(lo)) * float64(columns))
		i = min(max(i, 0), columns-1)
		counts[i]++
		most = max(most, counts[i])
	}
	blocks := []rune(" ▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, n := range counts {
		b.WriteRune(blocks[(n*(len(blocks)-1)+most-1)/most])
	}
	return b.String()
}

// perLock formats the CPU time for each lock.
func perLock(d time.Duration, t *tally) string {
	if d < 0 || len(t.release) == 0 {
		return "-"
	}
	return brief(d / time.Duration(len(t.release)))
}

// micros returns the CPU time for each lock in microseconds; negative if
// unknown.
func micros(d time.Duration, t *tally) float64 {
	if d < 0 || len(t.release) == 0 {
		return -1
	}
	return math.Round(float64(d.Microseconds()) / float64(len(t.release)))
}

type benchDoc struct {
	Library  string  `json:"library"`
	Workers  int     `json:"workers"`
	P50Ms    float64 `json:"acquire_p50_ms"`
	P99Ms    float64 `json:"acquire_p99_ms"`
	MaxMs    float64 `json:"acquire_max_ms"`
	Release  float64 `json:"release_p50_ms"`
	Rate     float64 `json:"locks_per_s"`
	Servers  float64 `json:"servers_cpu_us"` // for each lock and its release; negative if unknown
	Client   float64 `json:"client_cpu_us"`
	Failures int     `json:"failures"`
	Embedded bool    `json:"embedded"` // measured on embedded nodes, which prove nothing about real servers
}

func (r *benchCmd) describe(all []*contestant, embeddedNodes bool) any {
	docs := []benchDoc{}
	for _, c := range all {
		for workers, t := range map[int]*tally{1: &c.alone, r.Workers: &c.many} {
			t.sort()
			docs = append(docs, benchDoc{c.name, workers, ms(quantile(t.acquire, 0.5)), ms(quantile(t.acquire, 0.99)), ms(quantile(t.acquire, 1)),
				ms(quantile(t.release, 0.5)), math.Round(t.rate()), micros(t.cpu.servers, t), micros(t.cpu.client, t), t.failures, embeddedNodes})
		}
	}
	slices.SortStableFunc(docs, func(a, b benchDoc) int { return a.Workers - b.Workers })
	return docs
}
