package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// style is how a line looks on a terminal.
type style string

const (
	plain  style = ""
	quiet  style = "2"    // dim
	fault  style = "33"   // yellow
	fixed  style = "32"   // green
	fenced style = "35"   // magenta
	broken style = "1;31" // bold red
	strong style = "1;32" // bold green
)

// printer tells what happens, a line for each event.
type printer struct {
	begun time.Time

	mu     sync.Mutex
	w      io.Writer
	colour bool
	width  int // of the terminal; 0: there is none, and lines are as long as they are
}

func newPrinter() *printer {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		width = 0
	}
	return &printer{begun: time.Now(), w: stdout, colour: stdout.colour, width: width}
}

// colourful reports whether w is a terminal whose user wants colour. See https://no-color.org.
func colourful(w *os.File) bool {
	info, err := w.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" &&
		(runtime.GOOS != "windows" || os.Getenv("WT_SESSION") != "")
}

func (n *printer) paint(s style, text string) string {
	if !n.colour || s == plain {
		return text
	}
	return control("["+string(s)+"m") + text + control("[0m")
}

// say tells one event: who or what it is about, and what happened.
func (n *printer) say(s style, about, format string, args ...any) {
	at := time.Since(n.begun)
	n.mu.Lock()
	defer n.mu.Unlock()
	const indent = 19 // of the text behind the time and what it is about
	for i, line := range wrap(fmt.Sprintf(format, args...), n.width-indent) {
		if i == 0 {
			fmt.Fprintf(n.w, "%6.2fs  %s\n", at.Seconds(), n.paint(s, fmt.Sprintf("%-9s %s", about, line)))
			continue
		}
		fmt.Fprintf(n.w, "%s%s\n", strings.Repeat(" ", indent), n.paint(s, line))
	}
}

// leastWrap is the width from which wrap wraps: what is narrower is left to the terminal.
const leastWrap = 20

// wrap breaks text between words into lines no longer than width.
func wrap(text string, width int) (lines []string) {
	if width < leastWrap {
		return []string{text}
	}
	line := ""
	for word := range strings.SplitSeq(text, " ") {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// hanging is text that begins at indent, wrapped there.
func (n *printer) hanging(text string, indent int) string {
	return strings.Join(wrap(text, n.width-indent), "\n"+strings.Repeat(" ", indent))
}

// result is what the demo came to.
type result struct {
	orders, holds, waits, handOvers, losses, rejected, overlaps int

	p50, p99, longest time.Duration

	kept, broken []string
}

// result gathers the counts and checks the promises, each against what was written down for it.
func (m *demo) result() result {
	r := result{
		orders: len(m.store.written), holds: m.gauge.holds, rejected: m.store.rejected, overlaps: len(m.gauge.overlaps),
	}
	var took []time.Duration
	troubles := m.unexpected
	for _, w := range m.workers {
		s := w.locker.Stats()
		r.waits, r.handOvers, r.losses = r.waits+int(s.Waits), r.handOvers+int(s.HandOvers), r.losses+int(s.Losses)
		took = append(took, w.took...)
		for _, err := range w.troubles {
			troubles = append(troubles, "worker "+w.name+": "+err.Error())
		}
	}
	slices.Sort(took)
	if len(took) > 0 {
		r.p50, r.p99, r.longest = quantile(took, 0.50), quantile(took, 0.99), took[len(took)-1]
	}
	promise := func(text string, against []string) {
		if len(against) == 0 {
			r.kept = append(r.kept, text)
			return
		}
		r.broken = append(r.broken, fmt.Sprintf("%s: %s", text, shorten(against)))
	}
	stale, twice, missing := audit(m.store.written)
	promise("one holder at a time", m.gauge.overlaps)
	promise("every token larger than the one before", m.gauge.disorder)
	promise("no write with an old token accepted", append(stale, m.slept()...))
	promise("every order done once, none left out", append(twice, missing...))
	promise(m.progressed(), m.idle(r.orders))
	promise("no error that should not be", troubles)
	return r
}

// slept says what is wrong with the late write of the worker that slept.
func (m *demo) slept() []string {
	if m.asleep.wrote && m.asleep.err == nil {
		return []string{"worker E's late one was"}
	}
	return nil
}

// progressed is what may be said of the progress.
func (m *demo) progressed() string {
	if m.nodes == nil || m.halted || m.thin.Load() {
		return "orders go on"
	}
	return fmt.Sprintf("orders go on while %d of %d nodes answer", m.quorum, m.nodes.Len())
}

func (m *demo) idle(orders int) []string {
	if orders == 0 {
		return []string{"none was done"}
	}
	return nil
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// shorten lists the first few.
func shorten(all []string) string {
	const most = 3
	if len(all) <= most {
		return strings.Join(all, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(all[:most], "; "), len(all)-most)
}

// summarize prints the table, the promises, and a last line that says whether they held.
func (m *demo) summarize(r result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintln(m.w)
	row := func(name, value, remark string) {
		for _, line := range wrap(remark, m.width-36) {
			fmt.Fprintln(m.w, strings.TrimRight(fmt.Sprintf("  %-20s %10s   %s", name, value, m.paint(quiet, line)), " "))
			name, value = "", ""
		}
	}
	number := func(name string, value int, remark string) { row(name, thousands(value), remark) }
	number("orders", r.orders, "done, by workers A to D")
	number("locks", r.holds, "each with its own token")
	number("hand-overs", r.handOvers, "of these within a worker, without asking the nodes")
	number("waits", r.waits, "queued behind another goroutine of the same worker")
	number("losses", r.losses, "locks that ended while held"+m.ifStaged("; worker E's is one"))
	number("rejected writes", r.rejected, "by the store, for an old token")
	number("overlaps", r.overlaps, "moments with two holders")
	row("wait for the lock", brief(r.p50), "p50, with "+strconv.Itoa(demoWorkers*demoLoops)+" goroutines after it")
	row("", brief(r.p99), "p99")
	row("", brief(r.longest), "longest"+m.ifStaged(", while worker E's key had to expire"))
	fmt.Fprintln(m.w)
	for _, text := range r.kept {
		fmt.Fprintf(m.w, "  %s  %s\n", m.paint(fixed, "kept  "), m.hanging(text, 10))
	}
	for _, text := range r.broken {
		fmt.Fprintf(m.w, "  %s  %s\n", m.paint(broken, "BROKEN"), m.hanging(text, 10))
	}
	if len(r.broken) > 0 {
		fmt.Fprintf(m.w, "\n%s\n", m.paint(broken, fmt.Sprintf("%d of %d promises broken.", len(r.broken), len(r.broken)+len(r.kept))))
		return
	}
	fmt.Fprintf(m.w, "\n%s\n", m.paint(strong, "Every promise held."))
}

// ifStaged is text if worker E has slept past its TTL.
func (m *demo) ifStaged(text string) string {
	if m.asleep.wrote {
		return text
	}
	return ""
}

// brief is d with as many digits as a person reads.
func brief(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

// thousands writes n as 12,345.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
