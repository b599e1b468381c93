package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// goRedisLog is what go-redis prints.
type goRedisLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *goRedisLog) Printf(_ context.Context, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// about are the lines that name a port: tests that run beside this one may have
// others printed.
func (l *goRedisLog) about(urls []string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.lines), func(line string) bool {
		return !slices.ContainsFunc(urls, func(url string) bool { return strings.Contains(line, url[strings.LastIndex(url, ":"):]) })
	})
}

func TestDial_FailuresAreLoggedHereAndNowhereElse(t *testing.T) {
	var beside goRedisLog
	redis.SetLogger(&beside)
	defer redis.SetLogger(&logging.VoidLogger{})
	s := harness.Embedded(t, 3)
	var out lockedBuffer
	c := open(t, s, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
	s.Stop(0)
	n := c.Nodes()[0]
	for range 2 * poolSize {
		if n.client.Ping(t.Context()).Err() == nil {
			t.Fatal("a stopped node answers")
		}
	}
	n.Run(NewScript("one", "return 1"), nil, nil, nil)
	harness.Eventually(t, "a line about the node", func() bool { return strings.Contains(out.String(), "node down") })
	if lines := beside.about(s.URLs()); len(lines) > 0 {
		t.Errorf("go-redis printed %d lines: %s", len(lines), lines[0])
	}
	if !strings.Contains(out.String(), "connection refused") {
		t.Errorf("the line does not say why: %s", out.String())
	}
	if err := s.Restart(0, false); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the node to be up", func() bool { return n.Up() && n.client.Ping(t.Context()).Err() == nil })
}

func TestDial_NothingIsDialledForACallerThatHasGone(t *testing.T) {
	t.Parallel()
	dial := quietly(func(context.Context, string, string) (net.Conn, error) {
		t.Error("it dials")
		return nil, errors.New("no node")
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	conn, err := dial(ctx, "tcp", "node")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a connection that was not made fails with %v", err)
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
