package session

import (
	"maps"
	"sync/atomic"
)

// record is the data of a session on one node, or merged from several. It is
// immutable.
type record struct {
	whole bool   // of one node: the whole record was written since the node's memory began
	gone  bool   // a tombstone
	to    string // of a tombstone: the session that has replaced this one, and until when to report it
	until string

	born     string // a stamp
	issue    version
	user     string
	deadline string // absolute
	idle     string
	fields   map[string]string // name to version, kind and value

	dropped *atomic.Pointer[string] // of a record that was read: see reading.drop
}

const (
	kindValue   = '='
	kindDeleted = '-'
)

// over reports whether a deadline has passed at now.
func (r *record) over(now string) bool { return r.deadline <= now || r.idle <= now }

// newest returns the largest version of a field.
func (r *record) newest() version {
	top := version("")
	for _, f := range r.fields {
		top = max(top, f[:versionWidth])
	}
	return top
}

// merge combines two live records of one session: the last write of each field,
// and the deadlines that were set last.
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

// equal reports whether r has everything that b has. It ignores the idle
// deadline, because the next load extends it on each node according to that
// node's own deadline.
func (r *record) equal(b *record) bool {
	return r.issue == b.issue && r.deadline == b.deadline && r.born == b.born && sameFields(r.fields, b.fields)
}
