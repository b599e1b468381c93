package sim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// store is the memory of a node: the commands that the library's scripts and connections use, with Redis's rules for
// expiry. It touches no clock: the node sets now before each command.
type store struct {
	now       time.Time // by the node's clock
	keys      map[string]*entry
	scripts   map[string]string // source by hash
	publish   func(channel, text string) int
	stuck     bool // sabotage: counters do not move
	immortal  bool // sabotage: keys do not expire
	unmarked  bool // sabotage: scores are whole numbers
	unordered func(key string)
}

// entry is one key; what kind it is shows in which field is used.
type entry struct {
	text    string
	fields  map[string]string
	scores  map[string]float64
	expires int64 // ms by the node's clock; 0: never
}

type (
	status   string // a simple string
	failure  string // an error
	commands map[string]func(*store, []string) any
)

func newStore() *store {
	return &store{keys: map[string]*entry{}, scripts: map[string]string{}}
}

// clone copies the keys; scripts are not kept by any restart.
func (s *store) clone() *store {
	c := newStore()
	c.now, c.publish, c.stuck, c.immortal, c.unmarked, c.unordered = s.now, s.publish, s.stuck, s.immortal, s.unmarked, s.unordered
	for k, e := range s.keys {
		c.keys[k] = &entry{e.text, maps.Clone(e.fields), maps.Clone(e.scores), e.expires}
	}
	return c
}

func (s *store) at(key string) *entry {
	e := s.keys[key]
	if e != nil && e.expires != 0 && s.now.UnixMilli() > e.expires && !s.immortal {
		delete(s.keys, key)
		return nil
	}
	return e
}

func (s *store) ensure(key string) *entry {
	e := s.at(key)
	if e == nil {
		e = &entry{}
		s.keys[key] = e
	}
	return e
}

// locks are the lock keys that live.
func (s *store) locks() (all []string) {
	for _, k := range slices.Sorted(maps.Keys(s.keys)) {
		if s.at(k) != nil && (strings.HasPrefix(k, "lock:") || strings.HasSuffix(k, ":slots") || strings.HasSuffix(k, ":until")) {
			all = append(all, k)
		}
	}
	return all
}

// known is every command, in lower case.
var known commands

func init() {
	known = commands{
		"get": (*store).get, "set": (*store).set, "msetnx": (*store).msetnx, "incrby": (*store).incrby, "del": (*store).del, "exists": (*store).exists,
		"pttl": (*store).pttl, "pexpire": (*store).pexpire, "time": (*store).time,
		"zadd": (*store).zadd, "zcard": (*store).zcard, "zrem": (*store).zrem, "zrange": (*store).zrange,
		"hset": (*store).hset, "hdel": (*store).hdel, "hmget": (*store).hmget,
		"publish": func(s *store, a []string) any { return int64(s.publish(a[0], a[1])) },
		"ping":    func(*store, []string) any { return status("PONG") },
		"client":  func(*store, []string) any { return status("OK") },
		"script":  (*store).script,
		"eval":    (*store).eval,
		"evalsha": (*store).evalsha,
	}
}

// do executes one command.
func (s *store) do(args []string) any {
	fn := known[strings.ToLower(args[0])]
	if fn == nil {
		return failure("ERR unknown command '" + args[0] + "'")
	}
	return fn(s, args[1:])
}

func (s *store) get(a []string) any {
	if e := s.at(a[0]); e != nil {
		return e.text
	}
	return nil
}

func (s *store) set(a []string) any {
	e := &entry{text: a[1]}
	if len(a) == 4 && strings.EqualFold(a[2], "px") {
		ms, err := strconv.ParseInt(a[3], 10, 64)
		if err != nil || ms <= 0 {
			return failure("ERR invalid expire time in 'set' command")
		}
		e.expires = s.now.UnixMilli() + ms
	} else if len(a) == 3 && strings.EqualFold(a[2], "nx") {
		if s.at(a[0]) != nil {
			return nil
		}
	} else if len(a) != 2 {
		return failure("ERR syntax error")
	}
	if strings.HasSuffix(a[0], ":fence") {
		old := s.at(a[0])
		if old != nil && s.stuck {
			return status("OK")
		}
		if was, now := number(old), number(e); now < was {
			s.unordered(a[0])
		}
	}
	s.keys[a[0]] = e
	return status("OK")
}

func (s *store) msetnx(a []string) any {
	for i := 0; i < len(a); i += 2 {
		if s.at(a[i]) != nil {
			return int64(0)
		}
	}
	for i := 0; i < len(a); i += 2 {
		s.keys[a[i]] = &entry{text: a[i+1]}
	}
	return int64(1)
}

func (s *store) incrby(a []string) any {
	e := entry{text: "0"}
	if old := s.at(a[0]); old != nil {
		if e = *old; s.stuck {
			return number(old)
		}
	}
	was, err1 := strconv.ParseInt(e.text, 10, 64)
	by, err2 := strconv.ParseInt(a[1], 10, 64)
	if err1 != nil || err2 != nil {
		return failure("ERR value is not an integer or out of range")
	}
	e.text = strconv.FormatInt(was+by, 10)
	s.keys[a[0]] = &e
	return was + by
}

func number(e *entry) int64 {
	if e == nil {
		return 0
	}
	n, _ := strconv.ParseInt(e.text, 10, 64)
	return n
}

func (s *store) del(a []string) any {
	n := int64(0)
	for _, k := range a {
		if s.at(k) != nil {
			delete(s.keys, k)
			n++
		}
	}
	return n
}

func (s *store) exists(a []string) any {
	n := int64(0)
	for _, k := range a {
		if s.at(k) != nil {
			n++
		}
	}
	return n
}

func (s *store) pttl(a []string) any {
	switch e := s.at(a[0]); {
	case e == nil:
		return int64(-2)
	case e.expires == 0:
		return int64(-1)
	default:
		return e.expires - s.now.UnixMilli()
	}
}

func (s *store) pexpire(a []string) any {
	ms, err := strconv.ParseInt(a[1], 10, 64)
	if err != nil {
		return failure("ERR value is not an integer or out of range")
	}
	e := s.at(a[0])
	if e == nil || len(a) == 3 && strings.EqualFold(a[2], "nx") && e.expires != 0 {
		return int64(0)
	}
	if ms <= 0 {
		delete(s.keys, a[0])
		return int64(1)
	}
	e.expires = s.now.UnixMilli() + ms
	return int64(1)
}

func (s *store) time([]string) any {
	us := s.now.UnixMicro()
	return []any{strconv.FormatInt(us/1e6, 10), strconv.FormatInt(us%1e6, 10)}
}

func (s *store) hset(a []string) any {
	e := s.ensure(a[0])
	if e.fields == nil {
		e.fields = map[string]string{}
	}
	n := int64(0)
	for i := 1; i+1 < len(a); i += 2 {
		if _, there := e.fields[a[i]]; !there {
			n++
		}
		e.fields[a[i]] = a[i+1]
	}
	return n
}

func (s *store) hdel(a []string) any {
	e := s.at(a[0])
	if e == nil {
		return int64(0)
	}
	n := int64(0)
	for _, f := range a[1:] {
		if _, there := e.fields[f]; there {
			delete(e.fields, f)
			n++
		}
	}
	if len(e.fields) == 0 {
		delete(s.keys, a[0])
	}
	return n
}

func (s *store) hmget(a []string) any {
	out := make([]any, len(a)-1)
	if e := s.at(a[0]); e != nil {
		for i, f := range a[1:] {
			if v, there := e.fields[f]; there {
				out[i] = v
			}
		}
	}
	return out
}

func (s *store) script(a []string) any {
	switch strings.ToLower(a[0]) {
	case "load":
		hash := hashOf(a[1])
		s.scripts[hash] = a[1]
		return hash
	case "exists":
		var out []any
		for _, h := range a[1:] {
			n := int64(0)
			if s.scripts[h] != "" {
				n = 1
			}
			out = append(out, n)
		}
		return out
	}
	return failure("ERR unknown subcommand")
}

// eval runs a script and keeps it, as Redis does.
func (s *store) eval(a []string) any {
	s.scripts[hashOf(a[0])] = a[0]
	return runScript(s, a[0], a[1:])
}

func (s *store) evalsha(a []string) any {
	src := s.scripts[a[0]]
	if src == "" {
		return failure("NOSCRIPT No matching script. Please use EVAL.")
	}
	return runScript(s, src, a[1:])
}

// encode writes v as a reply of version 2 of the protocol.
func encode(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "$-1\r\n"...)
	case int64:
		return fmt.Appendf(b, ":%d\r\n", v)
	case string:
		return fmt.Appendf(b, "$%d\r\n%s\r\n", len(v), v)
	case status:
		return fmt.Appendf(b, "+%s\r\n", v)
	case failure:
		return fmt.Appendf(b, "-%s\r\n", v)
	case []any:
		b = fmt.Appendf(b, "*%d\r\n", len(v))
		for _, x := range v {
			b = encode(b, x)
		}
		return b
	}
	panic(fmt.Sprintf("sim: a reply of type %T", v))
}

// decode takes one command off b. ok is false while it is not complete.
func decode(b []byte) (args []string, rest []byte, ok bool) {
	n, rest, ok := header(b, '*')
	for range n {
		var size int
		if size, rest, ok = header(rest, '$'); !ok || len(rest) < size+2 {
			return nil, b, false
		}
		args, rest = append(args, string(rest[:size])), rest[size+2:]
	}
	return args, rest, ok && len(args) > 0
}

func header(b []byte, kind byte) (n int, rest []byte, ok bool) {
	line, rest, found := bytes.Cut(b, []byte("\r\n"))
	if !found {
		return 0, b, false
	}
	n, err := strconv.Atoi(string(line[min(1, len(line)):]))
	if err != nil || line[0] != kind {
		panic(fmt.Sprintf("sim: %q where a %q and a number belong", line, kind))
	}
	return n, rest, true
}
