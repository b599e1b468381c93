package session

import (
	"fmt"
	"io"
	"log/slog"
)

// String names the session by the short salted hash by which errors name it. A
// Session never prints its id, its Handle or its fields, whatever the verb, and
// neither does package slog.
func (ss *Session) String() string {
	if ss == nil {
		return "no session"
	}
	ss.mu.Lock()
	hashed := ss.hash
	ss.mu.Unlock()
	return fmt.Sprintf("session %q", ss.store.label(hashed))
}

// GoString is String.
func (ss *Session) GoString() string { return ss.String() }

// Format prints String for every verb.
func (ss *Session) Format(f fmt.State, _ rune) { io.WriteString(f, ss.String()) }

// LogValue is String.
func (ss *Session) LogValue() slog.Value { return slog.StringValue(ss.String()) }

// String says what the Store keeps, and neither the nodes' passwords nor the
// Salt.
func (s *Store) String() string {
	if s == nil {
		return "no store of sessions"
	}
	return fmt.Sprintf("sessions under %q", s.cfg.Prefix)
}

// GoString is String.
func (s *Store) GoString() string { return s.String() }

// Format prints String for every verb.
func (s *Store) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue is String.
func (s *Store) LogValue() slog.Value { return slog.StringValue(s.String()) }

// String leaves out the Salt.
func (cfg Config) String() string {
	return fmt.Sprintf("{Prefix:%q Idle:%v Lifetime:%v MaxSize:%d}", cfg.Prefix, cfg.Idle, cfg.Lifetime, cfg.MaxSize)
}

// GoString is String.
func (cfg Config) GoString() string { return cfg.String() }

// Format prints String for every verb.
func (cfg Config) Format(f fmt.State, _ rune) { io.WriteString(f, cfg.String()) }

// LogValue is String.
func (cfg Config) LogValue() slog.Value { return slog.StringValue(cfg.String()) }
