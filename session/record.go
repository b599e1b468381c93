package session

import (
	"errors"
	"maps"
)

// record is what a node has of a session, or what several nodes have together. It is not changed once it is made.
type record struct {
	memory string // the memory of the node under which the record was written whole; "" when merged
	gone   bool   // a tombstone
	to     string // of a tombstone: the session that has replaced this one, and up to when to tell it
	until  string

	born     string // a stamp
	issue    version
	user     string
	deadline string // absolute
	idle     string
	fields   map[string]string // name to version, kind and value
}

const (
	kindValue   = '='
	kindDeleted = '-'
)

var errForeign = errors.New("a record that is not one of ours")

// parseRecord reads a hash as HGETALL gives it; nil where there is none. Whatever does not look like a record that this
// package has written is an error.
func parseRecord(reply any) (*record, error) {
	words, ok := reply.([]any)
	if !ok || len(words)%2 != 0 {
		return nil, errForeign
	}
	if len(words) == 0 {
		return nil, nil
	}
	r := &record{fields: make(map[string]string, len(words)/2)}
	for i := 0; i < len(words); i += 2 {
		name, ok1 := words[i].(string)
		value, ok2 := words[i+1].(string)
		if !ok1 || !ok2 || !r.set(name, value) {
			return nil, errForeign
		}
	}
	if r.gone && r.memory != "" {
		return &record{memory: r.memory, gone: true, to: r.to, until: r.until}, nil
	}
	if r.memory == "" || micros(r.born) == 0 || micros(r.issue) == 0 || micros(r.deadline) == 0 || micros(r.idle) == 0 {
		return nil, errForeign
	}
	return r, nil
}

// set takes in one pair of a hash, and reports whether it can be one.
func (r *record) set(name, value string) bool {
	switch name {
	case "m":
		r.memory = value
	case "x":
		r.gone = true
	case "to":
		r.to = value
		return valid(value)
	case "until":
		r.until = value
		return isStamp(value)
	case "b":
		r.born = value
		return isStamp(value)
	case "v":
		r.issue = value
		return len(value) == versionWidth
	case "u":
		r.user = value
	case "e":
		r.deadline = value
		return isStamp(value)
	case "i":
		r.idle = value
		return isStamp(value)
	default:
		if len(name) < 2 || name[0] != 'f' || len(value) <= versionWidth || micros(value) == 0 ||
			value[versionWidth] != kindValue && value[versionWidth] != kindDeleted {
			return false
		}
		r.fields[name[1:]] = value
	}
	return true
}

func isStamp(s string) bool { return len(s) == timeWidth && micros(s) > 0 }

// over reports whether neither deadline is left at now.
func (r *record) over(now string) bool { return r.deadline <= now || r.idle <= now }

// newest is the largest version of a field.
func (r *record) newest() version {
	top := version("")
	for _, f := range r.fields {
		top = max(top, f[:versionWidth])
	}
	return top
}

// merge is what two live records of one session are together: the last writer of each field, and deadlines as they were
// set last.
func merge(a, b *record) *record {
	m := &record{
		born: min(a.born, b.born), issue: max(a.issue, b.issue), user: a.user,
		deadline: min(a.deadline, b.deadline), idle: max(a.idle, b.idle),
	}
	if m.fields = a.fields; !sameFields(a.fields, b.fields) {
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

// equal reports whether a has all that b has. How long a session may idle is no part of it: the next load that sets it
// forward does so on each node by what that node has.
func (r *record) equal(b *record) bool {
	return r.issue == b.issue && r.deadline == b.deadline && r.born == b.born && sameFields(r.fields, b.fields)
}
