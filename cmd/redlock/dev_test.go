package main

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestDev_PrintsALineThatCanBeUsed(t *testing.T) {
	t.Parallel()
	port := freePort(t, 3)
	dev := launch(t, nil, "dev", "-n", "3", "--port", strconv.Itoa(port))
	dev.stdout.line(t, "run order:42 --")
	urls := splitURLs(strings.TrimPrefix(dev.stdout.line(t, exportLine(nil)), exportLine(nil)))
	if len(urls) != 3 {
		t.Fatalf("%d URLs in:\n%s", len(urls), dev.stdout)
	}
	l, err := newLocker(t, urls).TryLock(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if err := dev.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	dev.exit(0)
}

func TestDev_NamesThePortThatIsTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	dev := launch(t, nil, "dev", "-n", "1", "--port", strconv.Itoa(taken))
	dev.exit(1)
	for _, want := range []string{"port " + strconv.Itoa(taken), "--port"} {
		if !strings.Contains(dev.stderr.String(), want) {
			t.Errorf("no %q in %s", want, dev.stderr)
		}
	}
}
