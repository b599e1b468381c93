package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/venta-hq/redlock/cluster"
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
