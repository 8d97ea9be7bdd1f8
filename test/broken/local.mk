# test/broken/ - lib/broken.h, one fault after another: which test notices?
#
#   make check-broken             all, in a build of its own in broken/; prints a table
#   make check-broken FAULTS=7    some: "3 7 13"

EXTRA_DIST += %D%/run.sh %D%/unseen
FAULTS = all

.PHONY: check-broken
check-broken:
	+@build=broken; cflags='-g -O2'; $(sub_build); \
	MAKE='$(MAKE)' $(SHELL) '$(abs_top_srcdir)/%D%/run.sh' '$(abs_top_srcdir)' $(FAULTS)
