# bindings/node/ - colock for Node.js. Not part of `make` and `make install`: npm builds it on an installed colock.
#
#   make check-node    its tests, on the library as it is built here; test/count adds them up (test/count . node)
#   make bench-node    its benchmark

EXTRA_DIST += \
  %D%/.npmrc \
  %D%/Makefile \
  %D%/README.md \
  %D%/bench.mjs \
  %D%/index.d.ts \
  %D%/index.js \
  %D%/native \
  %D%/package-lock.json \
  %D%/package.json \
  %D%/pglite.d.ts \
  %D%/pglite.js \
  %D%/run.sh \
  %D%/test

NODE_RUN = $(AM_TESTS_ENVIRONMENT) $(SHELL) '$(abs_top_srcdir)/%D%/run.sh'

.PHONY: check-node bench-node clean-node
check-node: all
	@$(NODE_RUN) check

bench-node: all
	@$(NODE_RUN) bench

clean-node:
	rm -rf node
