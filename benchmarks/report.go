//go:build unix

package main

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// heads name the figures of a workload's rows.
func (w workload) heads() []string {
	heads := []string{"", "ops/s", w.subject() + " is", "p50", "p99", "max", "client CPU/op", "server CPU/op", "allocs/op", "least served"}
	for _, c := range w.also {
		heads = append(heads, c.head)
	}
	return append(heads, "failed", "orders broken")
}

// cells are the figures of r in the order of heads.
func (r row) cells(rows []row) []string {
	if r.err != nil {
		cells := make([]string, len(r.workload.heads()))
		cells[0], cells[1] = r.name, "failed: "+r.err.Error()
		return cells
	}
	cells := []string{
		r.name, number(r.Rate), r.against(rows), brief(r.P50), brief(r.P99), brief(r.Max), cost(r.CPU), cost(r.ServerCPU),
		number(r.Allocs), fmt.Sprintf("%.2f", r.LeastServed),
	}
	for _, c := range r.workload.also {
		cells = append(cells, c.of(r, rows))
	}
	return append(cells, fmt.Sprint(r.Failed), fmt.Sprint(r.broken))
}

// against is how many times as many operations the subject of the workload did; at
// one about latency, how many times as late it was.
func (r row) against(rows []row) string {
	if r.workload.late {
		return r.lateness(rows)
	}
	if o, ok := r.other(rows); ok {
		return fmt.Sprintf("%.2f ×", o.Rate/r.Rate)
	}
	return ""
}

// lateness is how many times as late the subject of the workload was.
func (r row) lateness(rows []row) string {
	if o, ok := r.other(rows); ok {
		return fmt.Sprintf("%.2f × as late", float64(o.P50)/float64(r.P50))
	}
	return ""
}

// other is the row of the workload's subject, unless that is r.
func (r row) other(rows []row) (o row, ok bool) {
	i := slices.IndexFunc(rows, func(o row) bool { return o.name == r.workload.subject() })
	if i < 0 || rows[i].err != nil || r.name == rows[i].name {
		return row{}, false
	}
	return rows[i], true
}

func number(x float64) string {
	digits := fmt.Sprintf("%.0f", x)
	if math.Abs(x) < 10 {
		return fmt.Sprintf("%.1f", x)
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// brief is d to three digits.
func brief(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// cost is ns of processor time.
func cost(ns float64) string {
	if ns > 0 && ns < 100 {
		return fmt.Sprintf("%.1fns", ns)
	}
	return brief(time.Duration(ns))
}

// size is a number of bytes.
func size(bytes float64) string { return number(bytes) + " B" }

// printLines prints the table of a workload of two revisions.
func printLines(out io.Writer, w workload, lines []line) {
	fmt.Fprintf(out, "\n%s: %s\n", w.name, w.what)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tbase\tnew\tnew/base\tof all pairs\tA/A\t\t")
	for _, l := range lines {
		fmt.Fprintf(table, "%s\t%s\t%s\t%.3f\t%s\t%s\t%s\t\n", l.name, l.show(l.base), l.show(l.next), l.ratio,
			span(l.pairs), span(l.noise), l.verdict(l.comparison))
	}
	table.Flush()
}

// span is the smallest and the largest of some ratios.
func span(r [2]float64) string { return fmt.Sprintf("%.3f…%.3f", r[0], r[1]) }

func printRows(out io.Writer, w workload, rows []row) {
	fmt.Fprintf(out, "\n%s: %s\n", w.name, w.what)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, strings.Join(w.heads(), "\t")+"\t")
	for _, r := range rows {
		fmt.Fprintln(table, strings.Join(r.cells(rows), "\t")+"\t")
	}
	table.Flush()
}

// machine says what this is measured on.
func machine() string {
	cpu := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	server := "redis-server"
	if path, err := redisserver.Available(); err == nil {
		if version, err := redisserver.Version(path); err == nil {
			server = version
		}
	}
	return fmt.Sprintf("%s, %d cores, %s/%s, %s, %s", cpu, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), server)
}

// The measured parts of performance.md stand between such lines; what a person wrote around them stays.
const (
	libraries = "measured"
	modes     = "modes measured"
)

func from(part string) string { return "<!-- " + part + ": from here -->" }
func to(part string) string   { return "<!-- " + part + ": to here -->" }

// write puts the tables and the picture into dir. A part of the page of which
// nothing was measured stays, and so does the picture, which shows no modes.
func write(dir, machine string, f *flags, rows []row) error {
	peers := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.workload.inModes() })
	ofModes := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !r.workload.inModes() })
	with := fmt.Sprintf("Measured on %s, with\n\n    %s\n", machine, f.command())
	page := filepath.Join(dir, "performance.md")
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	if len(peers) > 0 {
		const image = "\n![operations per second, by workload and library](performance.svg)\n"
		if text, err = replace(page, text, libraries, with+image+tables(peers)); err != nil {
			return err
		}
	}
	if len(ofModes) > 0 {
		if text, err = replace(page, text, modes, with+tables(ofModes)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(page, text, 0o644); err != nil || len(peers) == 0 {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "performance.svg"), picture(peers), 0o644)
}

// command is the command that measures what f chooses, and writes it.
func (f *flags) command() string {
	c := fmt.Sprintf("go -C benchmarks run . --duration %v --rounds %d", f.Duration, f.rounds())
	if len(f.Only) > 0 {
		only := strings.Join(f.Only, ",")
		if strings.Contains(only, " ") {
			only = strconv.Quote(only)
		}
		c += " --only " + only
	}
	return c + " --write ../docs"
}

// replace puts content into a part of a page.
func replace(page string, text []byte, part, content string) ([]byte, error) {
	before, rest, ok := strings.Cut(string(text), from(part))
	_, after, ok2 := strings.Cut(rest, to(part))
	if !ok || !ok2 {
		return nil, fmt.Errorf("%s lacks the lines %s and %s", page, from(part), to(part))
	}
	return fmt.Appendf(nil, "%s%s\n\n%s\n%s%s", before, from(part), content, to(part), after), nil
}

// tables are the tables of all workloads of some rows.
func tables(rows []row) string {
	var b strings.Builder
	for _, group := range byWorkload(rows) {
		w := group[0].workload
		fmt.Fprintf(&b, "\n### %s\n\n%s.\n\n|%s|\n|%s\n", w.name, strings.ToUpper(w.what[:1])+w.what[1:],
			strings.Join(w.heads(), "|"), strings.Repeat("---|", len(w.heads())))
		for _, r := range group {
			fmt.Fprintf(&b, "|%s|\n", strings.Join(r.cells(group), "|"))
		}
	}
	return b.String()
}

func byWorkload(rows []row) (groups [][]row) {
	for _, r := range rows {
		if n := len(groups); n == 0 || groups[n-1][0].workload.name != r.workload.name {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], r)
	}
	return groups
}

var colours = map[string]string{turn.Redlock: "#c0392b", turn.Redsync: "#2c6fbb", turn.RedsyncFast: "#7fb2e5", turn.Rueidislock: "#3c8d5a", turn.Redislock: "#b58b00", raw: "#999999"}

// picture draws the rates as bars on a logarithmic scale.
func picture(rows []row) []byte {
	const left, width, bar, gap, head = 110, 560, 14, 14, 30
	most := 1.0
	for _, r := range rows {
		most = max(most, r.Rate)
	}
	decades := math.Ceil(math.Log10(most))
	x := func(rate float64) float64 { return left + width*max(0, math.Log10(max(rate, 1)))/decades }
	var b bytes.Buffer
	y := head
	for _, group := range byWorkload(rows) {
		if group[0].workload.late {
			continue
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" font-weight="bold">%s</text>`+"\n", left-8, y+bar-3, html.EscapeString(group[0].workload.name))
		for _, r := range group {
			if r.err == nil {
				fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d">%s %s/s</text>`+"\n",
					left, y, x(r.Rate)-left, bar-2, colours[r.name], x(r.Rate)+5, y+bar-3, html.EscapeString(r.name), number(r.Rate))
			}
			y += bar
		}
		y += gap
	}
	var all bytes.Buffer
	fmt.Fprintf(&all, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", left+width+180, y+10)
	fmt.Fprintf(&all, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="16">locks and unlocks per second, each line ten times the one before</text>`+"\n", left)
	for d := 0.0; d <= decades; d++ {
		fmt.Fprintf(&all, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#dddddd"/>`+"\n", x(math.Pow(10, d)), x(math.Pow(10, d)), head-8, y)
	}
	all.Write(b.Bytes())
	all.WriteString("</svg>\n")
	return all.Bytes()
}
