package nodeset

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// String names the nodes without their credentials. A Config never prints these, whatever the verb, and neither does
// package slog.
func (cfg Config) String() string {
	var names []string
	for _, raw := range cfg.URLs {
		name := "a URL that cannot be read"
		if t, err := parseURL(raw); err == nil {
			name = t.name
		}
		names = append(names, name)
	}
	names = append(names, slices.Sorted(maps.Keys(cfg.Clients))...)
	return fmt.Sprintf("{nodes:[%s] Quorum:%d MaxTTL:%v NodeTimeout:%v MaxQueued:%d Partial:%t}",
		strings.Join(names, " "), cfg.Quorum, cfg.MaxTTL, cfg.NodeTimeout, cfg.MaxQueued, cfg.Partial)
}

// GoString is String.
func (cfg Config) GoString() string { return cfg.String() }

// Format prints String for every verb.
func (cfg Config) Format(f fmt.State, _ rune) { io.WriteString(f, cfg.String()) }

// LogValue is String.
func (cfg Config) LogValue() slog.Value { return slog.StringValue(cfg.String()) }

// String names the nodes without their credentials.
func (c *Set) String() string {
	if c == nil {
		return "no cluster"
	}
	var names []string
	for _, n := range c.nodes {
		names = append(names, n.name)
	}
	return fmt.Sprintf("cluster of [%s]", strings.Join(names, " "))
}

// GoString is String.
func (c *Set) GoString() string { return c.String() }

// Format prints String for every verb.
func (c *Set) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is String.
func (c *Set) LogValue() slog.Value { return slog.StringValue(c.String()) }
