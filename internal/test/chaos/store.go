//go:build unix

package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Storage is what the locks protect: a version for each key or slot, which begins at 0. Keys that readers share are
// protected in memory instead, because they need a guard of two numbers.
// It refuses every access with a token older than one that it has seen for the
// key. The rules check everything else.
type Storage interface {
	// Access reads the version of key under a token, or writes the next one and
	// returns it. It calls decided once, while it decides about no other access
	// to the key. Methods may be called concurrently.
	Access(key string, token int64, write bool, decided func(accepted bool)) (version int64, err error)
}

// store is the server that clients reach a Storage through, in the test's
// process.
type store struct {
	storage  Storage
	shared   *memory // of keys that readers share
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil once closed
	log   []access
	errs  []error
}

// memory is a Storage in memory.
type memory struct {
	mu      sync.Mutex
	records map[string]*record
}

func newMemory() *memory { return &memory{records: map[string]*record{}} }

// record is the version of one key, and the tokens that it was accessed under.
type record struct {
	seen
	version int64
}

// seen are the largest tokens that writers and readers have shown.
type seen struct{ writer, reader int64 }

func (s seen) String() string {
	return fmt.Sprintf("%d of a writer and %d of a reader", s.writer, s.reader)
}

// admits reports whether a token is new enough, by the rule that lock.Shared gives.
func (s seen) admits(token int64, reads bool) bool {
	return token >= s.writer && (reads || token > s.reader)
}

// take records an access that was let in.
func (r *record) take(token int64, reads, write bool) {
	if reads {
		r.reader = max(r.reader, token)
	} else {
		r.writer = max(r.writer, token)
	}
	if write {
		r.version++
	}
}

func (m *memory) Access(key string, token int64, write bool, decided func(accepted bool)) (int64, error) {
	return m.access(key, token, false, write, decided)
}

// access is Access for readers as well.
func (m *memory) access(key string, token int64, reads, write bool, decided func(accepted bool)) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.records[key]
	if r == nil {
		r = &record{}
		m.records[key] = r
	}
	ok := r.admits(token, reads)
	decided(ok)
	if ok {
		r.take(token, reads, write)
	}
	return r.version, nil
}

// storeRequest reads a key's version under a token, or writes the version after Base.
type storeRequest struct {
	Client int
	Key    string
	Token  int64
	Shared bool // readers share the key
	Reads  bool // the token is that of a reader
	Write  bool
	Base   int64
}

type storeReply struct {
	Accepted bool
	Version  int64
}

func startStore(storage Storage) (*store, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &store{storage: storage, shared: newMemory(), listener: l, conns: map[net.Conn]struct{}{}}
	s.wg.Go(s.accept)
	return s, nil
}

func (s *store) addr() string { return s.listener.Addr().String() }

func (s *store) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.conns == nil {
			s.mu.Unlock()
			_ = conn.Close()
			return
		}
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() { s.serve(conn) })
	}
}

// serve answers one connection until it ends. Its end is no error, because
// clients are killed.
func (s *store) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var req storeRequest
		if in.Decode(&req) != nil {
			return
		}
		reply, err := s.take(req)
		if err != nil {
			s.mu.Lock()
			s.errs = append(s.errs, err)
			s.mu.Unlock()
			return
		}
		if out.Encode(reply) != nil {
			return
		}
	}
}

func (s *store) take(req storeRequest) (reply storeReply, err error) {
	at := 0
	decided := func(accepted bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		reply.Accepted = accepted
		at = len(s.log)
		s.log = append(s.log, access{
			At: now(), Client: req.Client, Key: req.Key, Token: req.Token, Reads: req.Reads, Write: req.Write, Base: req.Base, Accepted: accepted,
		})
	}
	if req.Shared {
		reply.Version, err = s.shared.access(req.Key, req.Token, req.Reads, req.Write, decided)
	} else {
		reply.Version, err = s.storage.Access(req.Key, req.Token, req.Write, decided)
	}
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.log[at].Version = reply.Version
	}
	return reply, err
}

// close ends the store and returns the accesses.
func (s *store) close() ([]access, error) {
	_ = s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.wg.Wait()
	return s.log, errors.Join(s.errs...)
}

// storeConn is a worker's connection to the store.
type storeConn struct {
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
}

func dialStore(addr string) (*storeConn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &storeConn{conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}, nil
}

func (c *storeConn) ask(req storeRequest) (storeReply, error) {
	var reply storeReply
	// The deadline is longer than any stop of this process, because the store
	// itself never fails.
	err := errors.Join(c.conn.SetDeadline(time.Now().Add(30*time.Second)), c.out.Encode(req))
	if err != nil {
		return reply, err
	}
	return reply, c.in.Decode(&reply)
}
