package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/lock"
)

// If the terminal has no room for everything, the output says so.
func TestTop_NothingIsCutWithoutASign(t *testing.T) {
	p := picture{at: time.Now(), quorum: 2}
	for i := range 3 {
		r := cluster.Report{Status: cluster.Status{Node: fmt.Sprintf("10.20.30.%d:6379", i), Up: true, Votes: true, Version: "7.0.15"},
			Persistence: "everysec", Eviction: "noeviction"}
		if i == 2 {
			r.Up, r.Votes, r.Err = false, false, errors.New("dial tcp 10.20.30.2:6379: connect: connection refused by the machine over there")
		}
		p.nodes = append(p.nodes, r)
	}
	for i := range 40 {
		p.locks = append(p.locks, lock.Inspection{Key: fmt.Sprintf("order:%d", i), State: lock.Held, Token: 1795577563601922,
			Holder: lock.Holder{Writer: lock.WriterRedlock, Host: "a-long-host-name", PID: 1234567, Name: "the nightly report"}})
	}
	for _, width := range []int{40, 60, 80, 200} {
		lines := p.lines(width, 24)
		if len(lines) != 24 {
			t.Errorf("%d lines", len(lines))
		}
		text := ""
		for _, line := range lines[:len(lines)-1] {
			text += line.text + "\n"
			table := strings.Contains(line.text, "order:") || strings.HasPrefix(line.text, "10.") || strings.HasPrefix(line.text, "KEY")
			if n := utf8.RuneCountInString(line.text); table && width >= 60 && n > width {
				t.Errorf("%d characters at a width of %d: %s", n, width, line.text)
			}
		}
		help := lines[len(lines)-1].text
		if !strings.HasPrefix(help, "q quits") || !strings.Contains(text, " more\n") {
			t.Errorf("no help, or no sign that there is more:\n%s%s", text, help)
		}
		for _, column := range slices.Concat(nodeColumns, lockColumns) {
			column = strings.TrimPrefix(column, ">")
			if strings.Contains(text, column) == slices.Contains(strings.Split(strings.TrimPrefix(help, "q quits; no room for "), ", "), column) {
				t.Errorf("at a width of %d %s is neither shown nor said to be left out, or both:\n%s%s", width, column, text, help)
			}
		}
		for line := range strings.Lines(text) {
			begin, whole := "dial tcp 10.20.30.2", p.nodes[2].Err.Error()
			if strings.Contains(line, begin) && !strings.Contains(line, whole) && !strings.Contains(line, "…") {
				t.Errorf("at a width of %d nothing shows that an error was cut: %s", width, line)
			}
		}
		painted := frame(lines, width, 24, func(_ style, s string) string { return s })
		for line := range strings.SplitSeq(painted, control("[E")) {
			line = strings.TrimSuffix(strings.TrimPrefix(line, control("[H")), control("[J"))
			if line = strings.TrimSuffix(line, control("[K")); utf8.RuneCountInString(line) > width {
				t.Errorf("the terminal cuts %q", line)
			}
		}
	}
}

// A key with several holders has several rows.
func TestTop_ShowsEachHolderOfAKeyThatSeveralHold(t *testing.T) {
	now := time.Now()
	by := func(name string, age time.Duration) lock.Holder {
		return lock.Holder{Writer: lock.WriterRedlock, Process: name, Host: "vm", PID: 7, Name: name, Since: now.Add(-age)}
	}
	p := picture{at: now, quorum: 2, locks: []lock.Inspection{
		{Key: "gpu", State: lock.Held, Limit: 4, Waiting: 1, Holder: lock.Holder{Writer: lock.WriterLimit}, Need: 2,
			Slots: []lock.Slot{{Number: 0, Holder: by("train", time.Minute), Votes: 3}, {Number: 3, Holder: by("render", time.Hour), Votes: 3}}},
		{Key: "catalog", State: lock.Held, Holder: lock.Holder{Writer: lock.WriterShared}, Readers: []quorumlock.Reader{{Holder: by("shop", time.Second)}, {Holder: by("search", 2*time.Second)}}},
		{Key: "order:42", State: lock.Held, Holder: by("report", time.Second)},
		{Key: "import", State: lock.Held, Holder: lock.Holder{Writer: lock.WriterDetached, Name: "feed", Since: now}},
	}}
	lines := p.lines(0, 0)
	waiting := 0
	for _, want := range []string{"gpu +limit +2 of 4 slots taken +- +1h00m", "  slot 0 +train .* 1m00s", "  slot 3 +render ", "catalog +shared +2 readers +- +2.0s", "  reader +shop ",
		"  reader +search ", "order:42 +exclusive +report ", "import +detached +detached by feed"} {
		i := slices.IndexFunc(lines, func(l painted) bool { return regexp.MustCompile("^" + want).MatchString(l.text) })
		if i < 0 {
			t.Errorf("no row is like %q: %v", want, lines)
		} else if lines[i].style == fault {
			waiting++
		}
	}
	if waiting != 3 {
		t.Errorf("%d rows are marked as waited for, want those of the first lock", waiting)
	}
	for _, tt := range []struct {
		height, locks int
		want          string
	}{{8, 4, "… 4 more"}, {9, 4, "… 3 more"}, {13, 4, "… 2 more"}, {14, 4, "… 2 more"}, {15, 4, "import"}, {9, 1, "… 2 more holders of it"}, {10, 1, "  slot 3"}} {
		p.locks = p.locks[:tt.locks]
		all := p.lines(200, tt.height)
		if text := all[len(all)-2].text; !strings.HasPrefix(text, tt.want) {
			t.Errorf("of %d locks in %d lines the last is %q, want %q", tt.locks, tt.height, text, tt.want)
		}
	}
}

// One key with many holders leaves room for others.
func TestTop_AKeyWithManyHoldersDoesNotFillTheScreen(t *testing.T) {
	many := lock.Inspection{Key: "catalog", State: lock.Held, Waiting: 1, Holder: lock.Holder{Writer: lock.WriterShared}}
	for i := range 64 {
		many.Readers = append(many.Readers, quorumlock.Reader{Holder: lock.Holder{Writer: lock.WriterRedlock, Name: fmt.Sprintf("shop %d", i)}})
	}
	slots := lock.Inspection{Key: "gpu", State: lock.Held, Limit: 9, Holder: lock.Holder{Writer: lock.WriterLimit}, Slots: make([]lock.Slot, 4)}
	p := picture{at: time.Now(), quorum: 2, locks: []lock.Inspection{many, slots, {Key: "order:42", State: lock.Held, Holder: lock.Holder{Writer: lock.WriterRedlock, Name: "report"}}}}
	text := ""
	for _, line := range p.lines(120, 24) {
		text += line.text + "\n"
	}
	for _, want := range []string{"  reader  ", "shop 2", "\n  … 61 more readers\n", "  slot 0", "\n  … 1 more slot\n", "\norder:42"} {
		if !strings.Contains(text, want) {
			t.Errorf("without %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "shop 3") {
		t.Errorf("it names a fourth reader:\n%s", text)
	}
	p.locks = p.locks[:1]
	for height, want := range map[int]string{9: "… 64 more holders of it", 10: "… 63 more holders of it", 11: "… 62 more holders of it", 12: "  … 61 more readers"} {
		all := p.lines(120, height)
		if got := all[len(all)-2].text; got != want {
			t.Errorf("in %d lines the last is %q, want %q", height, got, want)
		}
	}
}

// On a narrow terminal the time left is worth more than the mode.
func TestTop_LeavesOutTheModeBeforeTheTimeLeft(t *testing.T) {
	p := picture{at: time.Now(), quorum: 2, locks: []lock.Inspection{{Key: "order:42", State: lock.Held, Token: 1795577563601922, Left: 9 * time.Second,
		Holder: lock.Holder{Writer: lock.WriterRedlock, Host: "vm", PID: 22041, Name: "the nightly report of all orders"}}}}
	for width, hidden := range map[int]string{110: "", 100: "TOKEN", 80: "TOKEN, MODE", 76: "TOKEN, MODE, LEFT"} {
		lines := p.lines(width, 24)
		if got := strings.TrimPrefix(strings.TrimPrefix(lines[len(lines)-1].text, "q quits"), "; no room for "); got != hidden {
			t.Errorf("at a width of %d there is no room for %q, want %q", width, got, hidden)
		}
	}
}

// A key cannot look like a row of another.
func TestLs_QuotesAKeyWithSpacesAroundIt(t *testing.T) {
	for key, want := range map[string]string{"order:42": "order:42", "two words": "two words", "  slot 3": `"  slot 3"`, "end ": `"end "`, "\tb": `"\tb"`} {
		rows, _ := lockRows([]lock.Inspection{{Key: key}}, time.Now(), 1)
		if rows[0][0] != want {
			t.Errorf("%q is shown as %s, want %s", key, rows[0][0], want)
		}
	}
}
