package session

import (
	"fmt"
	"io"
	"log/slog"
)

// String returns the short salted hash by which errors name the session.
// Neither package fmt, with any verb, nor package slog prints a Session's id,
// its Handle or its fields.
func (ss *Session) String() string {
	if ss == nil {
		return "no session"
	}
	ss.mu.Lock()
	hashed := ss.hash
	ss.mu.Unlock()
	return fmt.Sprintf("session %q", ss.store.label(hashed))
}

// GoString returns what String returns.
func (ss *Session) GoString() string { return ss.String() }

// Format prints String for every verb.
func (ss *Session) Format(f fmt.State, _ rune) { io.WriteString(f, ss.String()) }

// LogValue returns what String returns.
func (ss *Session) LogValue() slog.Value { return slog.StringValue(ss.String()) }

// String describes the Store without the nodes' passwords and the Salt.
func (s *Store) String() string {
	if s == nil {
		return "no store of sessions"
	}
	return fmt.Sprintf("sessions under %q", s.cfg.Prefix)
}

// GoString returns what String returns.
func (s *Store) GoString() string { return s.String() }

// Format prints String for every verb.
func (s *Store) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue returns what String returns.
func (s *Store) LogValue() slog.Value { return slog.StringValue(s.String()) }

// String describes the Config without the Salt.
func (cfg Config) String() string {
	return fmt.Sprintf("{Prefix:%q Idle:%v Lifetime:%v MaxSize:%d}", cfg.Prefix, cfg.Idle, cfg.Lifetime, cfg.MaxSize)
}

// GoString returns what String returns.
func (cfg Config) GoString() string { return cfg.String() }

// Format prints String for every verb.
func (cfg Config) Format(f fmt.State, _ rune) { io.WriteString(f, cfg.String()) }

// LogValue returns what String returns.
func (cfg Config) LogValue() slog.Value { return slog.StringValue(cfg.String()) }
