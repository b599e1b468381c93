package session

import (
	"maps"
	"sync/atomic"
)

// record is what one node, or several nodes together, have of a session. It is
// not changed once it is made.
type record struct {
	whole bool   // of one node: it was written whole since the node's memory began
	gone  bool   // a tombstone
	to    string // of a tombstone: the session that has replaced this one, and up to when to tell it
	until string

	born     string // a stamp
	issue    version
	user     string
	deadline string // absolute
	idle     string
	fields   map[string]string // name to version, kind and value

	dropped *atomic.Pointer[string] // of what was read: see reading.drop
}

const (
	kindValue   = '='
	kindDeleted = '-'
)

// over reports whether a deadline has passed at now.
func (r *record) over(now string) bool { return r.deadline <= now || r.idle <= now }

// newest is the largest version of a field.
func (r *record) newest() version {
	top := version("")
	for _, f := range r.fields {
		top = max(top, f[:versionWidth])
	}
	return top
}

// merge combines two live records of one session: the last writer of each
// field, and the deadlines that were set last.
func merge(a, b *record) *record {
	if a == nil {
		return b
	}
	same := sameFields(a.fields, b.fields)
	if same && a.born <= b.born && a.issue >= b.issue &&
		a.deadline <= b.deadline && a.idle >= b.idle && a.idle <= a.deadline {
		return a
	}
	m := &record{
		born: min(a.born, b.born), issue: max(a.issue, b.issue), user: a.user,
		deadline: min(a.deadline, b.deadline), idle: max(a.idle, b.idle),
	}
	if m.fields = a.fields; !same {
		m.fields = maps.Clone(a.fields)
		for name, value := range b.fields {
			if have := m.fields[name]; have == "" || have[:versionWidth] < value[:versionWidth] {
				m.fields[name] = value
			}
		}
	}
	m.idle = min(m.idle, m.deadline)
	return m
}

func sameFields(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, value := range a {
		have := b[name]
		if have == "" || have[:versionWidth] != value[:versionWidth] {
			return false
		}
	}
	return true
}

// equal reports whether r has all that b has. The idle deadline is no part of
// it: the next load that extends it does so on each node by what that node has.
func (r *record) equal(b *record) bool {
	return r.issue == b.issue && r.deadline == b.deadline && r.born == b.born && sameFields(r.fields, b.fields)
}
