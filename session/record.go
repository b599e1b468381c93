package session

import (
	"errors"
	"maps"
	"strings"
)

// record is what a node has of a session, or what several nodes have together. It is not changed once it is made.
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
}

const (
	kindValue   = '='
	kindDeleted = '-'
)

var errForeign = errors.New("a record that is not one of ours")

// headWidth is the width of what stands before the user in a packed record.
const headWidth = 1 + timeWidth + versionWidth + 2*timeWidth

// parseRecord reads a record as scripts pack it; nil where there is none. Whatever does not look like one that this package
// has written is an error.
func parseRecord(reply any) (*record, error) {
	words, ok := reply.([]any)
	if !ok || len(words) > 0 && len(words)%2 == 0 {
		return nil, errForeign
	}
	if len(words) == 0 {
		return nil, nil
	}
	head, _ := words[0].(string)
	if strings.HasPrefix(head, "x") {
		return parseTombstone(head[1:])
	}
	if len(head) < headWidth || head[0] != '+' && head[0] != '-' {
		return nil, errForeign
	}
	r := &record{whole: head[0] == '+', user: head[headWidth:], fields: make(map[string]string, len(words)/2)}
	at := 1
	for _, part := range []*string{&r.born, &r.issue, &r.deadline, &r.idle} {
		width := timeWidth
		if part == &r.issue {
			width = versionWidth
		}
		*part = head[at : at+width]
		at += width
		if micros(*part) == 0 {
			return nil, errForeign
		}
	}
	for i := 1; i < len(words); i += 2 {
		name, _ := words[i].(string)
		value, _ := words[i+1].(string)
		if !isField(name, value) {
			return nil, errForeign
		}
		r.fields[name] = value
	}
	return r, nil
}

func parseTombstone(s string) (*record, error) {
	r := &record{gone: true}
	if s == "" {
		return r, nil
	}
	if len(s) != timeWidth+idWidth || !valid(s[timeWidth:]) {
		return nil, errForeign
	}
	r.until, r.to = s[:timeWidth], s[timeWidth:]
	return r, nil
}

func isField(name, value string) bool {
	return name != "" && len(value) > versionWidth && micros(value) > 0 &&
		(value[versionWidth] == kindValue || value[versionWidth] == kindDeleted)
}

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
