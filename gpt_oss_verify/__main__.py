"""`python -m gpt_oss_verify`."""

from gpt_oss_verify.app import main

main()
