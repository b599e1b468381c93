//go:build unix

package chaos

import (
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"
)

// Storage is what the locks protect: a version for each key, which begins at 0.
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

type record struct{ newest, version int64 }

func (m *memory) Access(key string, token int64, write bool, decided func(accepted bool)) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.records[key]
	if r == nil {
		r = &record{}
		m.records[key] = r
	}
	ok := token >= r.newest
	decided(ok)
	if ok {
		r.newest = token
		if write {
			r.version++
		}
	}
	return r.version, nil
}

// storeRequest reads a key's version under a token, or writes the version after Base.
type storeRequest struct {
	Client int
	Key    string
	Token  int64
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
	s := &store{storage: storage, listener: l, conns: map[net.Conn]struct{}{}}
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
	reply.Version, err = s.storage.Access(req.Key, req.Token, req.Write, func(accepted bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		reply.Accepted = accepted
		s.log = append(s.log, access{
			At: now(), Client: req.Client, Key: req.Key, Token: req.Token, Write: req.Write, Base: req.Base, Accepted: accepted,
		})
	})
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
