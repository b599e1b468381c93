//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
)

func TestTop_PaintsOnATerminalWhatHappens(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	locker := newLocker(t, s.URLs())
	l, err := locker.Lock(t.Context(), "order:42", lock.Owner("nightly"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release(context.Background())
	m := newTmux(t, 130, fmt.Sprintf("stty -echo; %s top --every 100ms --nodes %s; echo ended with $?; exec cat", os.Args[0], strings.Join(s.URLs(), ",")))
	screen := m.shows("redlock top", "3 of 3 nodes up", "1 lock ", "order:42", "nightly (", "+++", "q quits")
	if head := strings.Split(screen, "\n"); !strings.HasPrefix(head[0], "redlock top") || !strings.HasPrefix(head[2], "NODE") {
		t.Errorf("the screen is\n%s", screen)
	}
	t.Logf("the screen:\n%s", screen)
	other, err := locker.Lock(t.Context(), "order:43")
	if err != nil {
		t.Fatal(err)
	}
	m.shows("2 locks", "order:43")
	if err := other.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Stop(1)
	screen = m.shows("2 of 3 nodes up", "1 lock ", "+?+", "connection refused")
	if strings.Contains(screen, "order:43") {
		t.Errorf("a released lock stays on the screen:\n%s", screen)
	}
	m.run("send-keys", "C-c")
	screen = m.shows("ended with 0")
	if strings.Contains(screen, "order:42") {
		t.Errorf("the terminal is not restored:\n%s", screen)
	}
	if visible := strings.TrimSpace(m.run("display-message", "-p", "#{cursor_flag}")); visible != "1" {
		t.Error("the cursor stays hidden")
	}
}

func TestTop_FitsANarrowTerminal(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	locker := newLocker(t, s.URLs())
	if _, err := locker.Lock(t.Context(), "order:42", lock.Owner("nightly")); err != nil {
		t.Fatal(err)
	}
	for _, width := range []int{60, 80} {
		m := newTmux(t, width, fmt.Sprintf("stty -echo; %s top --every 100ms --nodes %s; exec cat", os.Args[0], strings.Join(s.URLs(), ",")))
		screen := m.shows("redlock top", "3 of 3 nodes up", "order:42", "q quits; no room for ", "APPEND-ONLY")
		for _, column := range []string{"NODE ", "STATE", "VOTES", "KEY ", "HOLDER", "WAITING"} {
			if !strings.Contains(screen, column) {
				t.Errorf("at %d columns there is no %s:\n%s", width, column, screen)
			}
		}
	}
}
