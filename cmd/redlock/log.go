package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// lines is a slog handler for a person's terminal: one line per event, without time and level. It knows no groups and
// no attributes of a logger's own; the library uses neither.
type lines struct {
	w    io.Writer
	mu   sync.Mutex
	from slog.Level
}

// newLogger prints warnings; also information if verbose; nothing if quiet.
func newLogger(quiet, verbose bool) *slog.Logger {
	switch {
	case quiet:
		return slog.New(slog.DiscardHandler)
	case verbose:
		return slog.New(&lines{w: stderr, from: slog.LevelInfo})
	}
	return slog.New(&lines{w: stderr, from: slog.LevelWarn})
}

func (h *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= h.from }
func (h *lines) WithAttrs([]slog.Attr) slog.Handler               { return h }
func (h *lines) WithGroup(string) slog.Handler                    { return h }

func (h *lines) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString("redlock: " + shown(strings.TrimPrefix(r.Message, "redlock: ")))
	sep := " ("
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, "%s%s: %s", sep, a.Key, shown(strings.TrimPrefix(a.Value.String(), "redlock: ")))
		sep = ", "
		return true
	})
	if sep != " (" {
		b.WriteByte(')')
	}
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}
