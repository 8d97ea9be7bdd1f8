# man/ - the manual pages.

dist_man_MANS += \
  %D%/colock.1 \
  %D%/colock.3 \
  %D%/colock.yaml.5 \
  %D%/colock-file.5
