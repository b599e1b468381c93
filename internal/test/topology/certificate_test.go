package topology

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// authority is a certificate authority that belongs to the test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	der  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	var err error
	if a.der, err = x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key); err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(a.der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue issues a certificate for one usage.
func (a *authority) issue(t *testing.T, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "a test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// files writes a server's certificate to files for redis-server.
func (a *authority) files(t *testing.T) *redisserver.TLS {
	t.Helper()
	dir := t.TempDir()
	f := &redisserver.TLS{
		CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"), CAFile: filepath.Join(dir, "ca.pem"),
	}
	a.write(t, f)
	return f
}

// write writes a server's certificate to these files, and the certificates of
// the authorities whose clients it accepts: a and others.
func (a *authority) write(t *testing.T, f *redisserver.TLS, others ...*authority) {
	t.Helper()
	cert := a.issue(t, x509.ExtKeyUsageServerAuth)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var trusted []byte
	for _, a := range append(others, a) {
		trusted = append(trusted, encoded("CERTIFICATE", a.der)...)
	}
	for path, text := range map[string][]byte{
		f.CertFile: encoded("CERTIFICATE", cert.Certificate[0]), f.KeyFile: encoded("PRIVATE KEY", key), f.CAFile: trusted,
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func encoded(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// options returns the options of a client that trusts a and presents these
// certificates.
func (a *authority) options(raw string, certs ...tls.Certificate) *redis.Options {
	return trusting(raw, []*authority{a}, certs...)
}

// trusting returns the options of a client that trusts these authorities and
// presents these certificates.
func trusting(raw string, all []*authority, certs ...tls.Certificate) *redis.Options {
	roots := x509.NewCertPool()
	for _, a := range all {
		roots.AddCert(a.cert)
	}
	return &redis.Options{
		Addr:      strings.TrimPrefix(raw, "rediss://"),
		TLSConfig: &tls.Config{RootCAs: roots, Certificates: certs},
	}
}

// secured is a set of nodes that demand certificates of clients.
type secured struct {
	harness.Set
	authority *authority
	files     *redisserver.TLS // of all nodes
}

// clients returns a client of each node that trusts these authorities and
// presents a certificate of issuer.
func (s *secured) clients(t *testing.T, trusted []*authority, issuer *authority) map[string]redis.UniversalClient {
	t.Helper()
	all := map[string]redis.UniversalClient{}
	for i, u := range s.URLs() {
		all[string(rune('a'+i))] = adminOf(t, trusting(u, trusted, issuer.issue(t, x509.ExtKeyUsageClientAuth)))
	}
	return all
}

// needTLS skips the test where redis-server was built without TLS.
func needTLS(t *testing.T) {
	t.Helper()
	needReal(t)
	s, err := redisserver.Start(1, redisserver.Options{TLS: newAuthority(t, "probe").files(t)})
	switch {
	case err == nil:
		s.Close()
	case strings.Contains(err.Error(), "tls-port"):
		t.Skipf("this redis-server is built without TLS: %v", err)
	default:
		t.Fatal(err)
	}
}

func startTLS(t *testing.T) (*fleet, *secured) {
	t.Helper()
	needTLS(t)
	a := newAuthority(t, "test CA")
	files := a.files(t)
	set := harness.Real(t, nodeCount, redisserver.Options{
		Persist: true, TLS: files, Args: []string{"--tls-auth-clients", "yes", "--appendfsync", "always"},
	})
	s := &secured{set, a, files}
	f := &fleet{}
	f.config.Clients = s.clients(t, []*authority{a}, a)
	for _, name := range slices.Sorted(maps.Keys(f.config.Clients)) {
		f.admins = append(f.admins, f.config.Clients[name].(*redis.Client))
	}
	return f, s
}
