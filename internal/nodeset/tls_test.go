package nodeset

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// authority is a CA of the test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (a *authority) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// issue makes a server's certificate for ip, good until notAfter.
func (a *authority) issue(t *testing.T, name, ip string, notAfter time.Time) *redisserver.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.ParseIP(ip)},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: notAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &redisserver.TLS{
		CertFile: a.write(t, name+".pem", "CERTIFICATE", der),
		KeyFile:  a.write(t, name+"-key.pem", "PRIVATE KEY", keyDER),
		CAFile:   filepath.Join(a.dir, "ca.pem"),
	}
}

// tlsClient is a client of the node at address that trusts a.
func (a *authority) tlsClient(t *testing.T, address string) redis.UniversalClient {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: address, TLSConfig: &tls.Config{RootCAs: a.roots()}})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestTLS_ACertificateThatDoesNotVerifyIsReported(t *testing.T) {
	a := newAuthority(t)
	hour := time.Now().Add(time.Hour)
	good := harness.Real(t, 1, redisserver.Options{TLS: a.issue(t, "good", "127.0.0.1", hour)})
	old := harness.Real(t, 1, redisserver.Options{TLS: a.issue(t, "old", "127.0.0.1", time.Now().Add(-time.Hour))})
	elsewhere := harness.Real(t, 1, redisserver.Options{TLS: a.issue(t, "elsewhere", "10.1.2.3", hour)})
	strict := harness.Real(t, 1, redisserver.Options{TLS: a.issue(t, "strict", "127.0.0.1", hour), Args: []string{"--tls-auth-clients", "yes"}})
	plain := harness.Real(t, 1, realOptions())
	leaksNothing(t)
	// The last step of either is to give up, after eight times this.
	const brief = 500 * time.Millisecond

	t.Run("by an unknown authority", func(t *testing.T) {
		cannotOpen(t, Config{URLs: good.URLs()}, "node "+hostOf(t, good.URLs()[0]), "certificate", "unknown authority")
	})
	t.Run("expired", func(t *testing.T) {
		address := hostOf(t, old.URLs()[0])
		cannotOpen(t, Config{Clients: map[string]redis.UniversalClient{"a": a.tlsClient(t, address)}}, "node a", "expired")
	})
	t.Run("of another host", func(t *testing.T) {
		address := hostOf(t, elsewhere.URLs()[0])
		cannotOpen(t, Config{Clients: map[string]redis.UniversalClient{"a": a.tlsClient(t, address)}}, "node a", "10.1.2.3")
	})
	t.Run("of the client, missing", func(t *testing.T) {
		address := hostOf(t, strict.URLs()[0])
		cannotOpen(t, Config{Clients: map[string]redis.UniversalClient{"a": a.tlsClient(t, address)}}, "node a", "certificate required")
	})
	t.Run("TLS to a plain port", func(t *testing.T) {
		t.Parallel()
		address := hostOf(t, plain.URLs()[0])
		_, err := Open(t.Context(), Config{URLs: []string{"rediss://" + address}, NodeTimeout: brief, Logger: quiet})
		if err == nil || !strings.Contains(err.Error(), "node "+address) || !strings.Contains(err.Error(), "use redis://") {
			t.Errorf("Open = %v, want an error that names the node and TLS", err)
		}
	})
	t.Run("plain to a TLS port", func(t *testing.T) {
		t.Parallel()
		address := hostOf(t, good.URLs()[0])
		_, err := Open(t.Context(), Config{URLs: []string{"redis://" + address}, NodeTimeout: brief, Logger: quiet})
		if err == nil || !strings.Contains(err.Error(), "node "+address) || !strings.Contains(err.Error(), "use rediss://") {
			t.Errorf("Open = %v, want an error that names the node and TLS", err)
		}
	})
	t.Run("one that does", func(t *testing.T) {
		c := mustOpen(t, Config{Clients: map[string]redis.UniversalClient{"a": a.tlsClient(t, hostOf(t, good.URLs()[0]))}})
		if got := run(t, c.Nodes()[0], pingScript, nil); got.err != nil {
			t.Error(got.err)
		}
	})
}

// go-redis's own dialer does not heed contexts in a TLS handshake, and keeps the time-out of the client it was made for.
func TestTLS_TheHandshakeOfAGivenClientIsBoundByNodeTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	given := redis.NewClient(&redis.Options{Addr: l.Addr().String(), TLSConfig: &tls.Config{}, DialTimeout: time.Hour})
	defer given.Close()
	before := goleak.IgnoreCurrent()
	done := make(chan error, 1)
	go func() {
		_, err := Open(t.Context(), Config{Clients: map[string]redis.UniversalClient{"a": given}, NodeTimeout: 10 * time.Millisecond, Logger: quiet})
		done <- err
	}()
	if err := harness.Receive(t, "Open to give up a handshake", done); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("Open = %v", err)
	}
	goleak.VerifyNone(t, before) // or dials go on, for an hour
}
