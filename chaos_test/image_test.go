//go:build unix

package chaos_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ory/dockertest/v3"
	dc "github.com/ory/dockertest/v3/docker"

	"github.com/venta-hq/redlock/internal/test/chaos"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// localImage is the name of images made from a machine's own redis-server. Their tag is a hash of what is in them.
const localImage = "redlock-chaos-redis"

// ensureImage returns an image with redis-server in its PATH: the one the environment names, or one made from the
// machine's own redis-server.
func ensureImage(pool *dockertest.Pool) (repository, tag string, err error) {
	if name := os.Getenv("REDLOCK_TEST_IMAGE"); name != "" {
		return ensureNamedImage(pool, name)
	}
	rootfs, err := rootfsOfServer()
	if err != nil {
		return "", "", fmt.Errorf("no image can be made of this machine's redis-server, and REDLOCK_TEST_IMAGE names none: %w", err)
	}
	sum := sha256.Sum256(rootfs)
	tag = hex.EncodeToString(sum[:6])
	if _, err := pool.Client.InspectImage(localImage + ":" + tag); !errors.Is(err, dc.ErrNoSuchImage) {
		return localImage, tag, err
	}
	return localImage, tag, pool.Client.ImportImage(dc.ImportImageOptions{
		Repository: localImage, Tag: tag, Source: "-", InputStream: bytes.NewReader(rootfs), OutputStream: io.Discard,
	})
}

func ensureNamedImage(pool *dockertest.Pool, name string) (repository, tag string, err error) {
	repository, tag = dc.ParseRepositoryTag(name)
	if tag == "" {
		tag = "latest"
	}
	if _, err = pool.Client.InspectImage(repository + ":" + tag); errors.Is(err, dc.ErrNoSuchImage) {
		err = pool.Client.PullImage(dc.PullImageOptions{Repository: repository, Tag: tag}, dc.AuthConfiguration{})
	}
	if err != nil {
		return "", "", fmt.Errorf("REDLOCK_TEST_IMAGE=%s: %w", name, err)
	}
	return repository, tag, nil
}

// rootfsOfServer is a tar of the machine's redis-server with the loader and the libraries it needs, the same for the
// same files.
func rootfsOfServer() ([]byte, error) {
	path, err := redisserver.Available()
	if err != nil {
		return nil, err
	}
	server, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	loader, files, err := chaos.Libraries(server)
	if err != nil {
		return nil, err
	}
	if loader != "" {
		files = append(files, loader)
	}
	if lib, _, err := chaos.Faketime(); err == nil {
		more, err := chaos.Linked(loader, lib)
		if err != nil {
			return nil, err
		}
		files = append(append(files, lib), more...)
	}
	slices.Sort(files)
	files = slices.Compact(files)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, dir := range []string{"tmp/", "data/"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o1777}); err != nil {
			return nil, err
		}
	}
	if err := pack(w, "usr/local/bin/redis-server", server); err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := pack(w, strings.TrimPrefix(f, "/"), f); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

// pack adds the contents of a file under a name, so that no link is left to follow.
func pack(w *tar.Writer, name, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}
