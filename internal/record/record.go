package record

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// Key is where a record lives on the nodes.
type Key struct {
	Name   string // for people
	Record string // with a hash tag, because the promise made to the newest writer stands beside it
}

func (k Key) onNode() []string { return []string{k.Record, k.Record + ":promise"} }

// Record is what is kept.
type Record struct {
	Token   int64 // whose writing this version is
	Seq     int64 // which of theirs
	Origin  int64 // the token under which the data was written first
	Deleted bool
	Data    []byte
}

// newer reports whether r is a later version than other.
func (r *Record) newer(other *Record) bool {
	return r.Token > other.Token || r.Token == other.Token && r.Seq > other.Seq
}

// maxToken is above every fencing token: what is exact in Lua.
const maxToken = 1 << 53

// latestToken is the largest token that counts at now, as of a grant: one node
// whose record has a larger one must not overrule the others.
func latestToken(now time.Time, maxTTL time.Duration) int64 {
	return min(now.Add(nodeset.MaxFenceLead+maxTTL).UnixMicro(), maxToken-1)
}

var (
	// errForeign is the answer of a node that holds something else in the
	// place of the record.
	errForeign = errors.New("a record that this library has not written")

	errAhead = errors.New("a record whose token is beyond this machine's clock")
)

// parseRecord reads a reply of the read script. A reply that does not look
// exactly like a record that Write wrote under a token up to latest is an
// error.
func parseRecord(reply any, latest int64) (r Record, found bool, _ error) {
	words, ok := reply.([]any)
	switch {
	case !ok:
		return r, false, fmt.Errorf("unexpected reply to a read (%T)", reply)
	case len(words) == 0:
		return r, false, nil
	}
	fields, ok := texts(words)
	if !ok || len(fields) != 5 {
		return r, false, errForeign
	}
	if err := r.parseNumbers(fields[0], fields[1], fields[2], latest); err != nil {
		return Record{}, false, err
	}
	deleted, data := fields[3], fields[4]
	if deleted != "" && deleted != "1" {
		return Record{}, false, errForeign
	}
	r.Deleted, r.Data = deleted == "1", []byte(data)
	return r, true, nil
}

// texts returns words as strings; ok is false if one is none.
func texts(words []any) (texts []string, ok bool) {
	texts = make([]string, len(words))
	for i, w := range words {
		if texts[i], ok = w.(string); !ok {
			return nil, false
		}
	}
	return texts, true
}

func (r *Record) parseNumbers(token, seq, origin string, latest int64) error {
	var errs [3]error
	r.Token, errs[0] = strconv.ParseInt(token, 10, 64)
	r.Seq, errs[1] = strconv.ParseInt(seq, 10, 64)
	r.Origin, errs[2] = strconv.ParseInt(origin, 10, 64)
	switch {
	case errs[0] == nil && r.Token > latest:
		return errAhead
	case errors.Join(errs[:]...) != nil, r.Token < 0, r.Seq < 0, r.Origin < 0, r.Origin > r.Token:
		return errForeign
	}
	return nil
}

// parseWrite reads a reply of the write script to a writer with this token.
// Only an exact refusal counts as a newer token. A node that refuses because it
// has a newer write of the same token counts as one that kept it: nobody will
// see less.
func parseWrite(reply any, token int64) (kept bool, _ error) {
	words, _ := reply.([]any)
	switch {
	case len(words) == 1 && words[0] == any(int64(1)):
		return true, nil
	case len(words) == 2 && words[0] == any(int64(0)):
		if newest, ok := words[1].(int64); ok {
			return newest == token, nil
		}
	}
	return false, fmt.Errorf("unexpected reply to a write (%T)", reply)
}

// promiseRefused reports whether reply is exactly the refusal of a promise.
func promiseRefused(reply any) bool {
	words, _ := reply.([]any)
	if len(words) != 1 {
		return false
	}
	_, ok := words[0].(int64)
	return ok
}
