package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// lineHandler is a slog handler for a terminal: one line per event, without
// time and level. It supports neither groups nor a logger's own attributes; the
// library uses neither.
type lineHandler struct {
	w    io.Writer
	mu   sync.Mutex
	from slog.Level
}

// newLogger returns a logger of warnings, with verbose also of information,
// with quiet of nothing.
func newLogger(quiet, verbose bool) *slog.Logger {
	switch {
	case quiet:
		return slog.New(slog.DiscardHandler)
	case verbose:
		return slog.New(&lineHandler{w: stderr, from: slog.LevelInfo})
	}
	return slog.New(&lineHandler{w: stderr, from: slog.LevelWarn})
}

func (h *lineHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.from }
func (h *lineHandler) WithAttrs([]slog.Attr) slog.Handler               { return h }
func (h *lineHandler) WithGroup(string) slog.Handler                    { return h }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
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
